import type { ScopeKeyRecord } from '../../../keys/record/scope-key-record';
import { endOfWait } from '../../../keys/store/watched-key-store';
import type { Session } from '../../load/session';

import type { NamedScope } from './named-scope';

const MINUTE_MS = 60_000;

/** What a call of the command does, unless it is refused. */
export interface ShredStep {
  /** The mark of an erasure that is requested, or done. */
  readonly mark: ScopeKeyRecord | undefined;
  readonly erasableFrom: Date;
  /** Whether this call erases. */
  readonly isLast: boolean;
  /** Whether other processes may still be writing for the scope when it is erased. */
  readonly isShort: boolean;
}

/** Finds out what the next call does. `delay` and `grace` are in minutes. */
export async function nextStep(
  { installation }: Session,
  scope: NamedScope,
  { delay = 0, grace }: { readonly delay?: number; readonly grace?: number },
): Promise<ShredStep> {
  const { keys, store } = installation;
  const { maxAgeMs } = keys.scopeOperations;
  const mark = await keys.scopes.marks.findRecorded(scope, 'erasure');
  const now = await store.now();
  const since = mark?.since ?? now;
  const waitMs = Math.max(delay * MINUTE_MS, grace === undefined ? maxAgeMs : grace * MINUTE_MS);
  const asked = endOfWait(since, waitMs);
  const sealed = mark?.state === 'active' ? keys.scopes.marks.erasableFrom(mark) : asked;
  const erasableFrom = sealed > asked ? sealed : asked;
  return {
    ...{ mark, erasableFrom, isLast: erasableFrom <= now },
    isShort: (erasableFrom > now ? erasableFrom : now) < endOfWait(since, maxAgeMs),
  };
}

/** Returns the question before the call. */
export function warningOf(
  { title }: NamedScope,
  { mark, erasableFrom, isLast, isShort }: ShredStep,
): string {
  if (mark?.state === 'erased') {
    return `What belongs to ${title} was erased at ${mark.since.toISOString()}: this gives the receipt again.`;
  }
  return [
    `This erases all that belongs to ${title}, for good`,
    isLast
      ? ' and at once: there is no later step, and nothing to cancel.'
      : mark === undefined
        ? ', in two steps. The first one, now, stops writes for it, in each process once that has noticed; the same ' +
          'command erases the keys later, and until then --cancel ends it.'
        : `, from ${erasableFrom.toISOString()} on, and not before.`,
    ...(isShort ? [` ${LOST_WRITES}`] : []),
  ].join('');
}

/** What becomes of writes that a short grace does not wait for. */
export const LOST_WRITES =
  'With this --grace, other processes may still be writing when the keys are erased: those values are lost, too, and ' +
  'the receipt does not count them. Stop these processes first.';
