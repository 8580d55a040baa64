import { AsyncLocalStorage } from 'node:async_hooks';

import { isWellFormed } from '../encoding/text';
import { UnsupportedValueError } from '../errors';

/** Who does something: a user, a service, or an operator. */
export interface Actor {
  /** For the audit log and the access log; at most 256 characters. */
  readonly id: string;
  /** What `access.levelOf` goes by. Defaults to none. */
  readonly roles?: readonly string[];
  /** Why, for the access log; 1 to 64 characters, not all blank, without personal data. */
  readonly reason?: string;
  /**
   * Passes the limits of the option `guard` in an emergency, which is a `critical` event each time. Takes a
   * `reason`. Defaults to `false`.
   */
  readonly breakGlass?: boolean;
  /** The approver who asks for operations that need approval, by their id in the policy. Defaults to `id`. */
  readonly requester?: string;
}

const MAX_ID_CHARS = 256;
const MAX_REASON_CHARS = 64;

const actors = new AsyncLocalStorage<Actor | undefined>();

/**
 * Runs `work`, and all that it awaits, on behalf of an actor: entries of the audit log name it, and its level
 * decides what is allowed (`access`). An inner call replaces the actor of an outer one.
 *
 * @throws {@link UnsupportedValueError} for an actor without an id, or with a reason that is too long; for texts that
 * are blank, or hold a lone surrogate
 */
export function runAs<T>(actor: Actor, work: () => T): T {
  return actors.run(checkedActor(actor), work);
}

/** Returns the actor of the innermost {@link runAs}. */
export function currentActor(): Actor | undefined {
  return actors.getStore();
}

/**
 * Runs deferred work for the actor who caused it, or for none, rather than for the actor who was at work when its
 * timer was set.
 */
export function onBehalfOf<T>(actor: Actor | undefined, work: () => T): T {
  return actors.run(actor, work);
}

/** As it is when the work begins. */
function checkedActor(actor: Actor): Actor {
  const {
    id,
    roles = [],
    reason,
    requester,
    breakGlass = false,
    ...others
  } = Object(actor) as Actor;
  const isId = [id, requester ?? id].every((each) => isTextOf(each, MAX_ID_CHARS));
  const isReason = reason === undefined || isTextOf(reason, MAX_REASON_CHARS);
  const areRoles = Array.isArray(roles) && roles.every((role) => typeof role === 'string');
  const isBreaking = typeof breakGlass === 'boolean' && (!breakGlass || reason !== undefined);
  if (isId && isReason && areRoles && isBreaking) {
    const asked = requester === undefined ? {} : { requester };
    const checked = { ...others, ...asked, id, roles: Object.freeze([...roles]), breakGlass };
    return Object.freeze(reason === undefined ? checked : { ...checked, reason });
  }
  throw new UnsupportedValueError(
    `An actor is { id, requester?, roles?, reason?, breakGlass? }: id and requester of 1 to ${String(MAX_ID_CHARS)} ` +
      `characters, a list of roles, a reason of 1 to ${String(MAX_REASON_CHARS)} characters, which breakGlass takes. ` +
      'None is blank, or cut within a character.',
  );
}

function isTextOf(value: unknown, maxChars: number): boolean {
  const isText = typeof value === 'string' && value.length <= maxChars;
  return isText && isWellFormed(value) && value.trim() !== '';
}
