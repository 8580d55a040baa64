import type { AuditEvent, AuditStore } from '../../audit/audit-entry';
import type { AuditLog, AuditSeal } from '../../audit/audit-log';
import type { FoundSeal } from '../../audit/audit-verification';
import { ConfigurationError, KeyNotFoundError, KeyStateError } from '../../errors';
import { eventsOf } from '../store/key-change-events';
import type { KeyEventListener } from '../record/key-event';
import { soleActive } from '../record/key-versions';
import type { KeyRecord } from '../record/key-record';
import type { KeyStore } from '../store/key-store';
import type { KeyWrapper } from '../wrapping/key-wrapper';
import { nextVersion } from '../wrapping/next-version';
import { proveKek } from '../wrapping/row-proofs';
import type { UnwrappedKey } from '../wrapping/unwrapped-key';

/** There is one key of the audit log; its record still needs a name. */
const AUDIT_KEY_NAME = 'default';

/** What the key of the audit log comes from. */
export interface AuditKeyParts<C> {
  readonly store: KeyStore<C>;
  readonly log: AuditLog<C>;
  readonly entries: AuditStore<C>;
  readonly wrapper: KeyWrapper;
  /** Milliseconds for which the key is kept in memory. */
  readonly maxAgeMs: number;
  readonly clock: () => number;
  readonly emit: KeyEventListener;
}

/**
 * The key that seals the audit log: one of the key table with a purpose of its own, so that it is
 * wrapped, rewrapped and backed up like the others. Made when the first entry is to be written.
 */
export class AuditKey<C> {
  readonly #parts: AuditKeyParts<C>;
  #hasTable = false;
  #hasBegun = false;
  #held: { readonly seal: AuditSeal; readonly since: number } | undefined;

  constructor(parts: AuditKeyParts<C>) {
    this.#parts = parts;
  }

  /**
   * The seal for new entries.
   *
   * @param connection - the one that the caller holds, if any.
   * @throws {@link KeyNotFoundError} where there are entries and their key is gone;
   * {@link ConfigurationError} without the table of the log, and what unwrapping throws
   */
  async ready(connection?: C): Promise<AuditSeal> {
    const { clock, maxAgeMs } = this.#parts;
    if (this.#held !== undefined && clock() - this.#held.since < maxAgeMs) return this.#held.seal;
    const since = clock();
    await this.#requireTable(connection);
    const seal = (await this.#existing(connection)) ?? (await this.#create(connection));
    this.#held = { seal, since };
    this.#hasBegun = true;
    return seal;
  }

  /** The seal that a key of the table gives, to verify with. */
  async find(keyId: string, connection?: C): Promise<FoundSeal> {
    const [record] = await this.#parts.store.findByIds([keyId], connection);
    if (record?.purpose !== 'audit') return 'unknownSeal';
    const unwrapped = await this.#parts.wrapper.unwrapOfAnyAge(record);
    return unwrapped.isAuthenticated ? sealOf(record, unwrapped) : 'unauthenticatedSeal';
  }

  /** @throws {@link UnauthenticatedKeyError} for a key that somebody without the KMS could have made, and seal with */
  async open(record: KeyRecord, heldByCaller?: C): Promise<AuditSeal> {
    return sealOf(record, await this.#parts.wrapper.unwrap(record, heldByCaller));
  }

  /** Forgets the key, and that the table was there. */
  forget(): void {
    this.#held = undefined;
    this.#hasTable = false;
    this.#hasBegun = false;
  }

  async #requireTable(connection?: C): Promise<void> {
    this.#hasTable ||= await this.#parts.entries.exists(connection);
    if (this.#hasTable) return;
    throw new ConfigurationError(
      'the table of the audit log does not exist in this database, and operations on keys are recorded ' +
        'in it. Run the migrations of fieldEncryptionMigrations (CreateAuditLog1764000002000) or ' +
        '`field-encryption init`; or set `audit: false`.',
    );
  }

  async #existing(connection?: C): Promise<AuditSeal | undefined> {
    const records = await this.#parts.store.findCurrent('audit', [AUDIT_KEY_NAME], connection);
    const active = soleActive(records);
    return active === undefined ? undefined : this.open(active, connection);
  }

  async #create(connection?: C): Promise<AuditSeal> {
    const { store, wrapper, entries, log, emit } = this.#parts;
    if ((await entries.last(connection)) !== undefined) {
      // Another process may have made the key, and its entry with it, since it was looked for.
      const made = await this.#existing(connection);
      if (made === undefined) throw sealLost();
      return made;
    }
    if (this.#hasBegun) throw logLost();
    const records = await store.list(connection);
    await proveKek(wrapper, records, connection);
    // The log, which is empty, knows none.
    const knowledge = { wrapper, audit: undefined };
    const spec = {
      name: AUDIT_KEY_NAME,
      purpose: 'audit',
      version: await nextVersion(knowledge, 'audit', AUDIT_KEY_NAME, records),
      suite: 'hmac-sha-256',
    } as const;
    const now = await store.now(connection);
    const { record, unwrapped } = await wrapper.create(spec, now, connection);
    if (unwrapped.purpose !== 'audit') throw new TypeError('the new key is of another purpose');
    const events: AuditEvent[] = eventsOf([{ type: 'insert', record }]);
    const inserted = await store.insertFirst(record, connection, async (transaction) => {
      await log.append(events, unwrapped.key, transaction);
      return true;
    });
    if (!inserted) return this.#ofAnotherProcess(connection);
    const { id: keyId, name: keyName, purpose, version } = record;
    emit({ type: 'keyCreated', purpose, keyId, keyName, version });
    return unwrapped.key;
  }

  async #ofAnotherProcess(connection?: C): Promise<AuditSeal> {
    const existing = await this.#existing(connection);
    if (existing !== undefined) return existing;
    throw new KeyStateError(
      'the key of the audit log was changed by another process meanwhile. Try again.',
      { retryable: true },
    );
  }
}

function sealOf(record: KeyRecord, unwrapped: UnwrappedKey): AuditSeal {
  if (unwrapped.purpose === 'audit') return unwrapped.key;
  throw new TypeError(`key ${record.id} does not seal the audit log`);
}

/** Under a new key, nobody could tell any more whether the entries that are there were edited. */
function sealLost(): KeyNotFoundError {
  return new KeyNotFoundError(
    'The key of the audit log is missing, and there are entries sealed with it. Restore the keys from a ' +
      'backup (`field-encryption keys restore`). If there is none, export the table of the audit log, ' +
      'empty it, restart the processes, and begin a new log with `field-encryption keys accept-epoch`.',
  );
}

function logLost(): KeyNotFoundError {
  return new KeyNotFoundError(
    'The audit log and its key were there before, and both are gone. Restore them from a backup of the ' +
      'database; or, where they are lost, restart the processes and begin a new log with ' +
      '`field-encryption keys accept-epoch`.',
  );
}
