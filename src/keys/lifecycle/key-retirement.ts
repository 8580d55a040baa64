import { createHash } from 'node:crypto';

import {
  FieldEncryptionError,
  KeyNotFoundError,
  KeyStateError,
  KeyUnwrapError,
  KmsUnavailableError,
} from '../../errors';
import { endOfWait } from '../store/watched-key-store';
import { IF_IT_GOES_ON, requireTransition } from './key-transition';
import type { KeyEpochs } from '../store/key-epochs';
import type { KeyEventListener } from '../record/key-event';
import type { KeyLifecycle } from './key-lifecycle';
import { aboutUnreadable, wholeSecond, keyTitle } from '../record/key-record';
import type { KeyRecord } from '../record/key-record';
import { isKnownState } from '../record/key-state';
import type { StateAuthenticator } from '../record/key-macs';
import { provenChange, requireProvenDates, takesAway, unprovenChange } from '../record/key-macs';
import type { KeyStore } from '../store/key-store';
import type { CreatedKey, KeyWrapper } from '../wrapping/key-wrapper';
import { isGenuine, proveRows } from '../wrapping/row-proofs';

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

/** A key as far as a count goes by it. */
export type CountedKey = Pick<KeyRecord, 'id' | 'name' | 'purpose'> & {
  /**
   * Where the row of the key does not prove itself, the ids of those that do: values under any other id
   * may need the key, and so may tokens, whatever the row says of its name and purpose.
   */
  readonly provenIds?: ReadonlySet<string> | undefined;
};

/** Counts, in every encrypted column, the rows that need a key, or the tokens that may be of a root. */
export type CountUses<C> = (key: CountedKey, connection: C) => Promise<readonly ColumnUse[]>;

/** The rows of all encrypted columns, as far as a key that is to be erased has to do with them. */
export interface EncryptedRows<C> {
  readonly count: CountUses<C>;
  /** Takes in the index roots as they are in the table now, for a count that goes by them. */
  readonly refreshRoots: () => Promise<void>;
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

/** How a key is to be destroyed. */
export interface Destruction {
  readonly graceMs: number;
  /** Whether somebody vouches that no process has the key, so that its row need not prove itself. */
  readonly evenUnproven: boolean;
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
  async destroy(
    id: string,
    { graceMs, evenUnproven }: Destruction,
    rows: EncryptedRows<C>,
  ): Promise<DestroyedKeyRecord> {
    const found = await this.find(id);
    if (found.purpose === 'audit') throw sealsTheLog(id);
    requireTransition(found, 'destroyed');
    const authenticate = await this.proveErasable(found, evenUnproven);
    if (authenticate === undefined) {
      await rows.refreshRoots();
      return this.#erase(found, rows, await this.#provenIds());
    }
    const record = await this.#dated(found, authenticate);
    await this.#requireWaited(record, graceMs);
    return this.#erase(record, rows);
  }

  /**
   * A record that proves all it says: that it is the row of its key, its state, and its dates. Those of a
   * revocation without the KMS, which are anybody's, count from now.
   *
   * @throws what unwrapping throws, and {@link KeyStateError} for dates that were edited
   */
  async proven(record: KeyRecord): Promise<KeyRecord> {
    return this.#dated(record, await this.prove(record));
  }

  /** What proves a record; changes nothing. Throws what {@link KeyRetirement.proven} does. */
  async prove(record: KeyRecord): Promise<StateAuthenticator> {
    const { authenticateState } = await this.#parts.wrapper.unwrapToRead(record);
    if (takesAway(record.state)) requireProvenDates(record, authenticateState);
    return authenticateState;
  }

  /**
   * {@link KeyRetirement.prove} for a key that is to be erased; undefined for one that proves nothing and
   * need not.
   *
   * @throws {@link KeyStateError} for one that has to, {@link KmsUnavailableError}
   */
  async proveErasable(
    record: KeyRecord,
    evenUnproven: boolean,
  ): Promise<StateAuthenticator | undefined> {
    try {
      return await this.prove(record);
    } catch (error) {
      if (!(error instanceof FieldEncryptionError)) throw error;
      if (error instanceof KmsUnavailableError) throw error;
      if (!evenUnproven) throw provesNothing(record, error);
      return undefined;
    }
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
    await this.#requireWaited(isClaim ? await this.proven(record) : record, graceMs);
  }

  /** @throws {@link KeyNotFoundError} */
  async find(id: string): Promise<KeyRecord> {
    const [record] = await this.#parts.store.findByIds([id]);
    if (record !== undefined) return record;
    throw new KeyNotFoundError(`key ${id} is not in the key table. See the list of keys.`, {
      keyId: id,
    });
  }

  async #dated(record: KeyRecord, authenticate: StateAuthenticator): Promise<KeyRecord> {
    const isClaim = record.state === 'compromised' && record.stateMac.length === 0;
    return isClaim ? this.#seal(record, authenticate) : record;
  }

  async #requireWaited(record: KeyRecord, graceMs: number): Promise<void> {
    const now = await this.#parts.store.now();
    const atRest = atRestFrom(record, graceMs, now);
    const { deactivatedAt } = record;
    if (deactivatedAt === null || atRest === null || now >= atRest) return;
    throw new KeyStateError(
      `${keyTitle(record)} was active until ${deactivatedAt.toISOString()}, and a process may still write with it ` +
        `until ${atRest.toISOString()}, by the clock of the database. Try again then; or, where no other process can have the key, ` +
        'with `--grace 0` (`graceMs: 0`).',
      { keyId: record.id, retryable: true },
    );
  }

  /** What was destroyed proves nothing, either: somebody may have written that. */
  async #provenIds(): Promise<ReadonlySet<string>> {
    const { store, wrapper } = this.#parts;
    const living = (await store.list()).filter(({ state }) => state !== 'destroyed');
    const { unproven, undecided } = await proveRows(wrapper, living);
    const others = new Set([...unproven, ...undecided].map(({ keyId }) => keyId));
    return new Set(living.map(({ id }) => id).filter((id) => !others.has(id)));
  }

  /** @param provenIds - of a record that does not prove itself. */
  async #erase(
    record: KeyRecord,
    rows: EncryptedRows<C>,
    provenIds?: ReadonlySet<string>,
  ): Promise<DestroyedKeyRecord> {
    const { id, purpose, name: keyName, version } = record;
    // From here on nobody writes with it any more; what was written is to be seen by the count.
    await rows.writersToEnd(record);
    const destroyedAt = wholeSecond(await this.#parts.store.now());
    const tombstone = { state: 'destroyed', destroyedAt, wrapped: new Uint8Array() } as const;
    const set = unprovenChange(tombstone, this.#parts.epochs.next(record));
    let uses: readonly ColumnUse[] = [];
    const erased = await this.#parts.store.apply(
      [{ type: 'update', expected: record, set, isProven: provenIds === undefined }],
      async (connection) => {
        uses = await rows.count({ id, name: keyName, purpose, provenIds }, connection);
        return isUnneeded(uses);
      },
    );
    if (!isUnneeded(uses)) throw stillNeeded(record, uses, provenIds === undefined);
    if (!erased) throw changedMeanwhile(id);
    this.#parts.emit({ type: 'keyDestroyed', purpose, keyId: id, keyName, version });
    return {
      record: { ...record, ...set },
      previousState: record.state,
      wrappedKeySha256: createHash('sha256').update(record.wrapped).digest('hex'),
      uses,
    };
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

/** By such a row another key would be erased than the one that it names, or one that is still written with. */
function provesNothing(record: KeyRecord, cause: FieldEncryptionError): KeyStateError {
  return new KeyStateError(
    `${keyTitle(record)} is not erased, for its row does not prove what it says: ${cause.message} Where nothing ` +
      'needs the row as it is and no process has its key in memory, destroy it with `--grace 0` (`graceMs: 0`): every ' +
      'encrypted column and blind index is then counted for it.',
    { keyId: record.id, cause },
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

function stillNeeded(
  record: KeyRecord,
  uses: readonly ColumnUse[],
  isProven: boolean,
): KeyNeededError {
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
      : `${title} may be needed by rows that name a key which is not in the key table${isProven ? '' : ', or whose own row does not prove itself'}: ${unknown}. ` +
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
  return new KeyStateError(
    `key ${id} was changed by another process meanwhile. Try again. ${IF_IT_GOES_ON}`,
    { keyId: id, retryable: true },
  );
}
