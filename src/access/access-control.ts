import { types } from 'node:util';

import type { AuditEvent } from '../audit/audit-entry';
import { AccessDeniedError, ConfigurationError, FieldEncryptionError } from '../errors';

import { isLevel, LEVELS } from './access-level';
import type { AccessLevel, AccessOptions, ControlledOperation } from './access-level';
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
   * @throws {@link AccessDeniedError} before anything happens, and whatever the operation throws
   */
  async run<T>(
    operation: Exclude<ControlledOperation, 'use'>,
    work: () => T | Promise<T>,
  ): Promise<T> {
    if (!this.isOn) return work();
    try {
      this.#require(operation);
      return await work();
    } catch (error) {
      if (error instanceof FieldEncryptionError) {
        const outcome = error instanceof AccessDeniedError ? 'denied' : 'failed';
        await this.#attempts.note({ operation, outcome, reference: error.code });
      }
      throw error;
    }
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
