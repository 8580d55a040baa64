import type { AuditEvent, AuditStore } from '../../audit/audit-entry';
import type { AuditLog, AuditSeal } from '../../audit/audit-log';
import type { FindSeal, FoundSeal } from '../../audit/audit-verification';
import {
  ConfigurationError,
  FieldEncryptionError,
  KeyNotFoundError,
  KeyStateError,
} from '../../errors';
import type { KeyEventListener } from '../record/key-event';
import type { KeyRecord } from '../record/key-record';
import { soleActive } from '../record/key-versions';
import { changedRecord, eventsOf } from '../store/key-change-events';
import type { KeyChange, KeyStore } from '../store/key-store';
import type { KeyWrapper } from '../wrapping/key-wrapper';
import { nextVersion } from '../wrapping/next-version';
import { proveKek } from '../wrapping/row-proofs';
import type { UnwrappedKey } from '../wrapping/unwrapped-key';

/** The name in the record of the audit log's one key. */
const AUDIT_KEY_NAME = 'default';

/** Options of the search for a seal. */
interface SealSearch<C> {
  readonly connection?: C | undefined;
  /** Counts an outage of the KMS as a seal that does not open. Defaults to `false`. */
  readonly bearsOutages?: boolean;
}

/** The parts that the key of the audit log is made with. */
interface AuditKeyParts<C> {
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
 * The key that seals the audit log. It is in the key table, with a purpose of its own, so that it is
 * wrapped, rewrapped and backed up like the others. Created with the first entry.
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
   * Returns the seal for new entries.
   *
   * @param connection - the caller's, if it holds one.
   * @param isForLog - whether entries of the log are to be sealed. Others take no right on its table, once there is
   * the key. Defaults to `true`.
   * @throws {@link KeyNotFoundError} where there are entries and their key is gone;
   * {@link ConfigurationError} without the table of the log, and what unwrapping throws
   */
  async ready(connection?: C, isForLog = true): Promise<AuditSeal> {
    const { clock, maxAgeMs } = this.#parts;
    if (this.#held !== undefined && clock() - this.#held.since < maxAgeMs) return this.#held.seal;
    const since = clock();
    if (isForLog) await this.#requireTable(connection);
    const seal = (await this.#existing(connection)) ?? (await this.#create(connection));
    this.#held = { seal, since };
    this.#hasBegun = true;
    return seal;
  }

  /** {@link AuditKey.ready} for an entry about changes, among which a restore or an adoption may bring the key itself. */
  async readyFor(changes: readonly KeyChange[], connection?: C): Promise<AuditSeal> {
    const arriving = changes
      .filter((change) => change.type === 'insert' || change.adopted === true)
      .map(changedRecord)
      .find(({ purpose, state }) => purpose === 'audit' && state === 'active');
    return arriving === undefined ? this.ready(connection) : this.open(arriving);
  }

  /** Returns a key of the table as a seal to verify with. */
  async find(keyId: string, connection?: C): Promise<FoundSeal> {
    const [record] = await this.#parts.store.findByIds([keyId], connection);
    if (record?.purpose !== 'audit') return 'unknownSeal';
    const unwrapped = await this.#parts.wrapper.unwrapOfAnyAge(record);
    return unwrapped.isAuthenticated ? sealOf(record, unwrapped) : 'unauthenticatedSeal';
  }

  /** {@link AuditKey.find}, without a reason where there is none. */
  async findSeal(keyId: string, connection?: C): Promise<AuditSeal | undefined> {
    const found = await this.find(keyId, connection);
    return typeof found === 'string' ? undefined : found;
  }

  /** Returns a search for seals to verify with, which remembers what it found. */
  finder({ connection, bearsOutages = false }: SealSearch<C> = {}): FindSeal {
    const known = new Map<string, FoundSeal>();
    return async (keyId) => {
      const seal = known.get(keyId) ?? (await this.#findToTell(keyId, bearsOutages, connection));
      known.set(keyId, seal);
      return seal;
    };
  }

  /** @throws {@link UnauthenticatedKeyError} for a key that could have been made, and sealed with, without the KMS */
  async open(record: KeyRecord, heldByCaller?: C): Promise<AuditSeal> {
    return sealOf(record, await this.#parts.wrapper.unwrap(record, heldByCaller));
  }

  /** Forgets the key, and that the table was there. */
  forget(): void {
    this.#held = undefined;
    this.#hasTable = false;
    this.#hasBegun = false;
  }

  /** An entry may name a forged row, and the rest of the log is to be verified regardless. */
  async #findToTell(keyId: string, bearsOutages: boolean, connection?: C): Promise<FoundSeal> {
    try {
      return await this.find(keyId, connection);
    } catch (error) {
      if (!(error instanceof FieldEncryptionError)) throw error;
      if (error.retryable && !bearsOutages) throw error;
      return 'unopenedSeal';
    }
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
    // The log is empty and knows none.
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

/** With a new key, edits of the existing entries could no longer be detected. */
function sealLost(): KeyNotFoundError {
  return new KeyNotFoundError(
    'The key of the audit log is missing, and there are entries sealed with it. Restore the keys from a ' +
      'backup (`field-encryption keys restore <file>`). If there is none, export the table of the audit log, ' +
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
