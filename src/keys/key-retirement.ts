import { createHash } from 'node:crypto';

import { KeyNotFoundError, KeyStateError, KeyUnwrapError } from '../errors';
import { endOfWait } from './change-time';
import type { KeyEpochs } from './key-epochs';
import type { KeyEventListener } from './key-event';
import type { KeyLifecycle } from './key-lifecycle';
import { aboutUnreadable, wholeSecond } from './key-record';
import type { KeyRecord } from './key-record';
import { isKnownState } from './key-state';
import { requireTransition } from './key-transition';
import type { StateAuthenticator } from './key-state-mac';
import { provenChange, requireProvenDates, unprovenChange } from './key-state-mac';
import type { KeyStore } from './key-store';
import { keyTitle } from './key-title';
import type { CreatedKey, KeyWrapper } from './key-wrapper';
import { isGenuine } from './row-proofs';

/** What taking keys out of use works with. */
export interface KeyRetirementParts<C> {
  readonly store: KeyStore<C>;
  readonly lifecycle: KeyLifecycle<C>;
  readonly wrapper: KeyWrapper;
  readonly epochs: KeyEpochs;
  readonly emit: KeyEventListener;
}

/** What a column holds under one key. */
export interface ColumnUse {
  readonly entity: string;
  readonly property: string;
  /** Table and column as the database knows them. */
  readonly table: string;
  readonly column: string;
  readonly rows: number;
  readonly rowsUnderKey: number;
  /**
   * Rows that name a key which is not in the key table, and whose id may be a damaged one of this key.
   * 0 for a root of the blind indexes: what cannot be read counts as needing it.
   */
  readonly rowsUnderUnknownKeys: number;
}

/** Counts, in every encrypted column, the rows that need a key, or the tokens that may be of a root. */
export type CountUses<C> = (
  key: Pick<KeyRecord, 'id' | 'name' | 'purpose'>,
  connection: C,
) => Promise<readonly ColumnUse[]>;

/** The rows of all encrypted columns, as far as a key that is to be erased has to do with them. */
export interface EncryptedRows<C> {
  readonly count: CountUses<C>;
  /**
   * Waits for the end of the transactions that have written, or are about to, when it is called: a
   * count does not see what they have not committed. Blocks none.
   *
   * @throws {@link KeyStateError}, retryable, when it takes too long
   */
  readonly writersToEnd: (key: Pick<KeyRecord, 'id'>) => Promise<void>;
}

/** A key that was revoked, and what took its place. */
export interface RevokedKeyRecord {
  readonly record: KeyRecord;
  /** The new active version; undefined where the revoked one was not active. */
  readonly replacement: CreatedKey | undefined;
  /** Whether its row proved that this library wrote it; undefined where the KMS was not asked. */
  readonly isProven: boolean | undefined;
}

/** A key that was destroyed, with the proof. */
export interface DestroyedKeyRecord {
  readonly record: KeyRecord;
  readonly previousState: KeyRecord['state'];
  /** SHA-256, in hexadecimal, of the wrapped key that was erased: tells copies of it in backups. */
  readonly wrappedKeySha256: string;
  /** Every encrypted column, counted in the transaction that erased the key. */
  readonly uses: readonly ColumnUse[];
}

/** Rows need the key that was to be destroyed, or may. */
export class KeyNeededError extends KeyStateError {
  override readonly name = 'KeyStateError';
}

/** How often an operation looks again after another process changed the row under it. */
const ATTEMPTS = 5;

/** Takes keys out of use: compromised ones at once, old ones for good. */
export class KeyRetirement<C> {
  readonly #parts: KeyRetirementParts<C>;

  constructor(parts: KeyRetirementParts<C>) {
    this.#parts = parts;
  }

  /**
   * See `KeyOperations.revoke`. Revoking a compromised key again only has it recorded again. Nothing that
   * somebody has written into the row is a reason to refuse it: it only takes away.
   */
  async revoke(id: string, replace = true): Promise<RevokedKeyRecord> {
    for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
      const record = await this.find(id);
      requireRevocable(record);
      if (record.state === 'compromised') return this.#recordAgain(record);
      const isProven = await this.#isProven(record, replace);
      const replacement = replace ? await this.#replacementOf(record, isProven) : undefined;
      const done = replacement !== undefined || (await this.#markCompromised(record, isProven));
      const after = await this.find(id);
      if (!done || after.state !== 'compromised') continue;
      const { purpose, name: keyName, version } = record;
      this.#parts.emit({ type: 'keyRevoked', purpose, keyId: id, keyName, version });
      return { record: after, replacement, isProven };
    }
    throw changedMeanwhile(id);
  }

  /** See `KeyOperations.destroy`. */
  async destroy(id: string, graceMs: number, rows: EncryptedRows<C>): Promise<DestroyedKeyRecord> {
    const record = await this.find(id);
    if (record.purpose === 'audit') throw sealsTheLog(id);
    requireTransition(record, 'destroyed');
    await this.requireAtRest(record, graceMs);
    // From here on nobody writes with it any more; what was written is to be seen by the count.
    await rows.writersToEnd(record);

    const destroyedAt = wholeSecond(await this.#parts.store.now());
    const tombstone = { state: 'destroyed', destroyedAt, wrapped: new Uint8Array() } as const;
    const set = unprovenChange(tombstone, this.#parts.epochs.next(record));
    let uses: readonly ColumnUse[] = [];
    const erased = await this.#parts.store.apply(
      [{ type: 'update', expected: record, set }],
      async (connection) => {
        uses = await rows.count(record, connection);
        return isUnneeded(uses);
      },
    );
    if (!isUnneeded(uses)) throw stillNeeded(record, uses);
    if (!erased) throw changedMeanwhile(id);
    const { purpose, name: keyName, version } = record;
    this.#parts.emit({ type: 'keyDestroyed', purpose, keyId: id, keyName, version });
    return {
      record: { ...record, ...set },
      previousState: record.state,
      wrappedKeySha256: createHash('sha256').update(record.wrapped).digest('hex'),
      uses,
    };
  }

  /**
   * Proves what was revoked without the KMS, now that the key was unwrapped; waits count from now.
   * Never rejects: where it cannot be done, the next process that loads the key does it.
   */
  async seal(record: KeyRecord, authenticate: StateAuthenticator): Promise<void> {
    if (record.state !== 'compromised' || record.stateMac.length > 0) return;
    await this.#seal(record, authenticate).catch(() => undefined);
  }

  /**
   * @throws {@link KeyStateError}, retryable, for a key that a process may still write with; not
   * retryable for a date that cannot be read, or was edited of a compromised one, and what unwrapping
   * that throws
   */
  async requireAtRest(record: KeyRecord, graceMs: number): Promise<void> {
    const isClaim = graceMs > 0 && record.state === 'compromised';
    const dated = isClaim ? await this.#withProvenDates(record) : record;
    const now = await this.#parts.store.now();
    const atRest = atRestFrom(dated, graceMs, now);
    const { deactivatedAt } = dated;
    if (deactivatedAt === null || atRest === null || now >= atRest) return;
    throw new KeyStateError(
      `${keyTitle(record)} was active until ${deactivatedAt.toISOString()}, and a process may still write with it ` +
        `until ${atRest.toISOString()}, by the clock of the database. Try again then; or, where no other process can have the key, ` +
        'with `--grace 0` (`graceMs: 0`).',
      { keyId: record.id, retryable: true },
    );
  }

  /** @throws {@link KeyNotFoundError} */
  async find(id: string): Promise<KeyRecord> {
    const [record] = await this.#parts.store.findByIds([id]);
    if (record !== undefined) return record;
    throw new KeyNotFoundError(`key ${id} is not in the key table. See the list of keys.`, {
      keyId: id,
    });
  }

  /** The dates of a revocation without the KMS are anybody's: they count from when they are proven. */
  async #withProvenDates(record: KeyRecord): Promise<KeyRecord> {
    const { authenticateState } = await this.#parts.wrapper.unwrapOfAnyAge(record);
    if (record.stateMac.length === 0) return this.#seal(record, authenticateState);
    requireProvenDates(record, authenticateState);
    return record;
  }

  async #seal(record: KeyRecord, authenticate: StateAuthenticator): Promise<KeyRecord> {
    const deactivatedAt = wholeSecond(await this.#parts.store.now());
    const set = provenChange(authenticate, record, { deactivatedAt }, this.#parts.epochs.next());
    if (await this.#parts.store.apply([{ type: 'update', expected: record, set }])) {
      return { ...record, ...set };
    }
    throw changedMeanwhile(record.id);
  }

  /** Asks the KMS only where it is needed anyway: to replace the key. */
  async #isProven(record: KeyRecord, replace: boolean): Promise<boolean | undefined> {
    if (!isKnownState(record.state)) return false;
    if (!replace || record.state !== 'active') return undefined;
    return isGenuine(this.#parts.wrapper, record);
  }

  async #replacementOf(
    { id, name, purpose, state }: KeyRecord,
    isProven = true,
  ): Promise<CreatedKey | undefined> {
    // By a purpose that somebody made up it is nobody's active key.
    if (state !== 'active' || purpose !== 'data') return undefined;
    // Without the unique index somebody may have added one. Revoking must not depend on which it is.
    if (await this.#isAnotherActive(id, name)) return undefined;
    // Only this one: what another process has put in its place meanwhile is not compromised.
    const replacement = await this.#parts.lifecycle
      .rotate(name, { id, isProven })
      .catch((error: unknown) => withoutReplacement(id, error));
    return replacement.record.id === id ? undefined : replacement;
  }

  async #isAnotherActive(id: string, name: string): Promise<boolean> {
    const current = await this.#parts.store.findCurrent('data', [name]);
    return current.some((other) => other.state === 'active' && other.id !== id);
  }

  /** The log may not have been there to record it the first time. */
  async #recordAgain(record: KeyRecord): Promise<RevokedKeyRecord> {
    const { compromisedAt, stateMac, epoch } = record;
    const set = { state: 'compromised', compromisedAt, stateMac, epoch } as const;
    await this.#parts.store.apply([{ type: 'update', expected: record, set }]);
    return { record, replacement: undefined, isProven: undefined };
  }

  async #markCompromised(record: KeyRecord, isProven = true): Promise<boolean> {
    const compromisedAt = wholeSecond(await this.#parts.store.now());
    const deactivatedAt = record.state === 'active' ? compromisedAt : record.deactivatedAt;
    const change = { state: 'compromised', compromisedAt, deactivatedAt } as const;
    const set = unprovenChange(change, this.#parts.epochs.next(record));
    return this.#parts.store.apply([{ type: 'update', expected: record, set, isProven }]);
  }
}

/** @throws {@link KeyStateError} for a destroyed key */
export function requireRevocable(
  record: Pick<KeyRecord, 'id' | 'name' | 'version' | 'state' | 'purpose'>,
): void {
  requireDataKey(record);
  // A state that somebody made up is no reason to leave the key in use.
  if (record.state === 'compromised' || !isKnownState(record.state)) return;
  requireTransition(record, 'compromised');
}

/** Where no key opens, a wrong passphrase looks like a table that was edited: it is for people to decide. */
function withoutReplacement(keyId: string, cause: unknown): never {
  if (!(cause instanceof KeyUnwrapError)) throw cause;
  throw new KeyUnwrapError(
    `${cause.message} No other active key opens either, so that no replacement can be made. To take the ` +
      `key out of use without one: field-encryption keys revoke ${keyId} --no-replacement (replace: false).`,
    { keyId, cause },
  );
}

/** @throws {@link KeyStateError} for a root of the blind indexes, which takes two steps to replace */
export function requireDataKey(
  { id, purpose }: Pick<KeyRecord, 'id' | 'purpose'>,
  become: 'revoked' | 'suspended' = 'revoked',
): void {
  if (purpose === 'audit') throw sealsTheLog(id);
  if (purpose !== 'index') return;
  throw new KeyStateError(
    `key ${id} is a root of the blind indexes and cannot be ${become}. Rotate the index key, reindex, ` +
      'and destroy the old root.',
    { keyId: id },
  );
}

/**
 * From when on nobody writes with a key, as far as its row says; `null` where there is nothing to wait
 * for. A revocation that is not proven yet counts from now.
 *
 * @throws {@link KeyStateError} for a date that cannot be read
 */
export function atRestFrom(record: KeyRecord, graceMs: number, now: Date): Date | null {
  if (graceMs === 0) return null;
  const isUnproven = record.state === 'compromised' && record.stateMac.length === 0;
  const since = isUnproven ? now : record.deactivatedAt;
  if (since !== null) return endOfWait(since, graceMs);
  if (!(record.unreadable?.includes('deactivated_at') ?? false)) return null;
  throw new KeyStateError(
    `${keyTitle(record)}: no wait can be counted.${aboutUnreadable(record)} Restore the row from a backup; or, ` +
      'where no process has the key in memory any more, destroy it with `--grace 0` (`graceMs: 0`).',
    { keyId: record.id },
  );
}

function sealsTheLog(id: string): KeyStateError {
  return new KeyStateError(
    `key ${id} seals the audit log, which could not be verified without it. It stays as it is.`,
    { keyId: id },
  );
}

/** Whether no row needs a key, as far as the rows say which key they need. */
export function isUnneeded(uses: readonly ColumnUse[]): boolean {
  return uses.every(
    ({ rowsUnderKey, rowsUnderUnknownKeys }) => rowsUnderKey === 0 && rowsUnderUnknownKeys === 0,
  );
}

function stillNeeded(record: KeyRecord, uses: readonly ColumnUse[]): KeyNeededError {
  const { id, purpose } = record;
  const title = keyTitle(record);
  const needed = rowsByColumn(uses, 'rowsUnderKey');
  const unknown = rowsByColumn(uses, 'rowsUnderUnknownKeys');
  const reasons = [
    needed === ''
      ? ''
      : `${title} is needed by rows: ${needed}. ${purpose === 'data' ? 'Re-encrypt' : 'Reindex'} them first.`,
    unknown === ''
      ? ''
      : `${title} may be needed by rows that name a key which is not in the key table: ${unknown}. ` +
        'Where the key id in them is damaged, they may be of this key. `field-encryption data verify` ' +
        'lists them: repair them, write their values again, or delete them first.',
  ];
  return new KeyNeededError(reasons.filter((reason) => reason !== '').join(' '), { keyId: id });
}

function rowsByColumn(
  uses: readonly ColumnUse[],
  counted: 'rowsUnderKey' | 'rowsUnderUnknownKeys',
): string {
  return uses
    .filter((use) => use[counted] > 0)
    .map((use) => `${String(use[counted])} of ${use.entity}.${use.property}`)
    .join(', ');
}

/** Another process was first; what it did may be what was wanted. */
export function changedMeanwhile(id: string): KeyStateError {
  return new KeyStateError(`key ${id} was changed by another process meanwhile. Try again.`, {
    keyId: id,
    retryable: true,
  });
}
