import { types } from 'node:util';

import type { AuditEvent } from '../audit/audit-entry';
import {
  AccessDeniedError,
  ApprovalRequiredError,
  ConfigurationError,
  FieldEncryptionError,
} from '../errors';

import { isLevel, LEVELS } from './access-level';
import type {
  AccessLevel,
  AccessOptions,
  ControlledOperation,
  ManagedOperation,
} from './access-level';
import { currentActor } from '../audit/actor';
import { MergedAttempts } from './merged-attempts';

/** An encrypted property. */
interface UsedProperty {
  readonly entity: string;
  readonly property: string;
}

/** Decides who may do what, and records the attempts that do not succeed. */
export class AccessControl {
  readonly #options: AccessOptions | undefined;
  readonly #attempts: MergedAttempts;

  /** @param record - adds to the audit log, and returns whether it could. */
  constructor(options: AccessOptions | undefined, record: (event: AuditEvent) => Promise<boolean>) {
    this.#options = options;
    this.#attempts = new MergedAttempts(record);
  }

  /** Whether levels are asked for at all. */
  get isOn(): boolean {
    return this.#options !== undefined;
  }

  /**
   * Runs an operation on keys, or over rows, if the actor may.
   *
   * @throws {@link AccessDeniedError} before anything happens, and whatever the operation throws; of the latter,
   * a want of approval is always recorded
   */
  async run<T>(operation: ManagedOperation, work: () => T | Promise<T>): Promise<T> {
    try {
      if (this.isOn) this.#require(operation);
      return await work();
    } catch (error) {
      const isUnapproved = error instanceof ApprovalRequiredError;
      if (isUnapproved || (this.isOn && error instanceof FieldEncryptionError)) {
        const isDenied = isUnapproved || error instanceof AccessDeniedError;
        const outcome = isDenied ? 'denied' : 'failed';
        const mark = isUnapproved ? requestOf(error) : undefined;
        await this.#attempts.note({ operation, outcome, reference: error.code, ...mark });
      }
      throw error;
    }
  }

  /** Whether the actor at work has the level of an operation. */
  allows(operation: ManagedOperation): boolean {
    return !this.isOn || this.#level() >= LEVELS[operation];
  }

  /**
   * Refuses an operation that is only to come, and would fail each time.
   *
   * @throws {@link AccessDeniedError}
   */
  async requireLevel(operation: Exclude<ControlledOperation, 'use'>): Promise<void> {
    await this.run(operation, () => undefined);
  }

  /**
   * Refuses to let values of a property be encrypted, decrypted or looked up.
   *
   * @throws {@link AccessDeniedError}
   */
  requireUse(of: UsedProperty): void {
    if (this.isOn) this.#require('use', of);
  }

  /** Records the attempts that are still counted together. */
  flush(): Promise<void> {
    return this.#attempts.flush();
  }

  #require(operation: ControlledOperation, of?: UsedProperty): void {
    const wanted = LEVELS[operation];
    const level = this.#level();
    if (level >= wanted) return;
    const what = of === undefined ? operation : `values of ${of.entity}.${of.property}`;
    throw new AccessDeniedError(
      `${what}: access level ${String(wanted)} is needed, and the actor has ${String(level)}. Run it in ` +
        'runAs({ id, roles }, …) of an actor with that level, or let `access.levelOf` give it.',
      of && { entity: of.entity, property: of.property },
    );
  }

  #level(): AccessLevel {
    const level: unknown = this.#options?.levelOf(currentActor());
    if (isLevel(level)) return level;
    // A promise that rejects later would end the process.
    if (types.isPromise(level)) level.catch(() => undefined);
    throw new ConfigurationError(
      '`access.levelOf` must return a level, 0 to 4, for every actor, and not a promise of one.',
    );
  }
}

/** Returns the request that lacks approval, and its requester, in the form that entries about signatures have. */
function requestOf({ request }: ApprovalRequiredError): Pick<AuditEvent, 'mark'> {
  const actor = currentActor();
  const name = actor?.requester ?? actor?.id;
  if (request === undefined || name === undefined) return {};
  return { mark: { id: request.slice(0, 16), name, purpose: 'approval' } };
}
