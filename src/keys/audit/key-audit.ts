import type { AuditEntry, AuditEvent, AuditOptions, AuditStore } from '../../audit/audit-entry';
import { headOf, readHead } from '../../audit/audit-entry';
import { AuditLog } from '../../audit/audit-log';
import type { AuditSeal } from '../../audit/audit-log';
import type { BrokenEntry, FoundSeal, LoggedKey } from '../../audit/audit-verification';
import { AuditVerification } from '../../audit/audit-verification';
import { ConfigurationError, FieldEncryptionError } from '../../errors';
import { KeyAnchor } from '../anchor/key-anchor';
import type { AnchorDiscrepancy } from '../anchor/key-anchor';
import type { KeyTableAnchor } from '../anchor/anchor-state';
import { AuditKey } from './audit-key';
import { areRevocations, changedRecord, eventsOf } from '../store/key-change-events';
import type { KeyEventListener } from '../record/key-event';
import type { KeyPurpose, KeyRecord } from '../record/key-record';
import type { KeyChange, KeyStore } from '../store/key-store';
import type { KeyWrapper } from '../wrapping/key-wrapper';
import { proveRows } from '../wrapping/row-proofs';
import type { UnprovenKey } from '../wrapping/row-proofs';

/** How the seal of an entry is looked for. */
interface SealSearch<C> {
  readonly connection?: C | undefined;
  readonly bearsOutages?: boolean;
}

/** What the audit of keys is made of. */
export interface KeyAuditParts<C> {
  /** The key table itself, past what records changes. */
  readonly store: KeyStore<C>;
  readonly entries: AuditStore<C>;
  /** `false` records nothing; what is there can be read. */
  readonly options: AuditOptions | false;
  readonly wrapper: KeyWrapper;
  readonly application: string;
  readonly anchor?: KeyTableAnchor | undefined;
  readonly maxAgeMs: number;
  readonly clock: () => number;
  readonly wallClock: () => Date;
  readonly emit: KeyEventListener;
}

/** A key whose state in the key table is not the one that the log ends with. */
export interface KeyDiscrepancy {
  readonly keyId: string;
  /** State after the last recorded operation; `null` where none is recorded. */
  readonly logged: string | null;
  /** State in the key table; `null` where the key is not in it. */
  readonly found: string | null;
  /** Epoch after the last recorded operation; `null` where none is recorded. */
  readonly loggedEpoch: number | null;
  /** Epoch in the key table: where it is lower than the recorded one, an older row was put back. */
  readonly foundEpoch: number | null;
}

/** What a verification of the audit log found. */
export interface AuditReport {
  /** Whether every entry is in place, and the key table agrees with them and is proven. */
  readonly ok: boolean;
  /** Entries that follow each other without a break. */
  readonly entries: number;
  /** Names the last of them, to be kept elsewhere and expected next time; `null` without any. */
  readonly head: string | null;
  /** The first entry that is not as it should be. Of what follows it, nothing can be said. */
  readonly broken: BrokenEntry | null;
  /** Keys that were changed past the library, or whose table was rolled back; only of an unbroken log. */
  readonly keys: readonly KeyDiscrepancy[];
  /**
   * Keys that do not unwrap, whose row was edited or is there twice, or that somebody without the KMS
   * could have made. Those that are marked as destroyed have nothing to prove.
   */
  readonly unproven: readonly UnprovenKey[];
  /** Keys that the KMS failed on while it opened others: of them nothing can be said now. */
  readonly undecided: readonly UnprovenKey[];
  /** Keys of which the anchor knows a newer row than the table has, or any; `null` without an anchor. */
  readonly anchor: readonly AnchorDiscrepancy[] | null;
}

/** Which entries to list. */
export interface AuditRange {
  /** Entries with a higher number only. Defaults to 0. */
  after?: number;
  /** Defaults to 100. */
  limit?: number;
}

/** State, in the log, of a key that was not in a table that was accepted. */
export const MISSING = 'missing';

const PAGE = 500;
/** How often the key table is read again because entries came meanwhile. */
const ATTEMPTS = 5;

/** The audit log of the keys: recorded with what changes them, read, verified. */
export class KeyAudit<C> {
  readonly #parts: KeyAuditParts<C>;
  readonly #log: AuditLog<C>;
  readonly #key: AuditKey<C>;
  /** Undefined where the key table has no anchor. */
  readonly anchor: KeyAnchor<C> | undefined;

  constructor(parts: KeyAuditParts<C>) {
    this.#parts = parts;
    const { entries, options, wallClock } = parts;
    const onFailure = this.#tellFailure.bind(this);
    this.#log = new AuditLog({ store: entries, options: options || {}, wallClock, onFailure });
    this.#key = new AuditKey({ ...parts, log: this.#log });
    const { anchor: port } = parts;
    this.anchor =
      port &&
      new KeyAnchor({
        ...parts,
        port,
        seal: (connection) => this.#key.ready(connection),
        findSeal: async (keyId, connection) => {
          const found = await this.#key.find(keyId, connection);
          return typeof found === 'string' ? undefined : found;
        },
      });
  }

  /** The last entry about a version of a key. */
  async lastOfKey(
    purpose: KeyPurpose,
    name: string,
    connection?: C,
  ): Promise<AuditEntry | undefined> {
    const { entries } = this.#parts;
    if (!(await entries.exists(connection))) return undefined;
    return entries.lastOfKey(purpose, name, connection);
  }

  /**
   * For which purposes the log knows the key of an id: by entries that it holds sealed, as others are
   * anybody's; empty for none. Undefined where there is no log to go by, too much in it, or where it
   * begins after the first version of that name.
   */
  async purposesOf(
    { id: keyId, purpose, name }: Pick<KeyRecord, 'id' | 'purpose' | 'name'>,
    connection?: C,
  ): Promise<ReadonlySet<string> | undefined> {
    const { entries, options } = this.#parts;
    if (options === false || !(await entries.exists(connection))) return undefined;
    if ((await entries.highestVersion({ purpose, name, limit: 1 }, connection)) !== 1)
      return undefined;
    const found = await entries.ofKey(keyId, PAGE, connection);
    if (found.length === PAGE) return undefined;
    const sealOf = this.#seals({ connection });
    const purposes = new Set<string>();
    for (const entry of found) {
      const seal = await sealOf(entry.sealedBy);
      if (typeof seal !== 'string' && seal.holds(entry)) purposes.add(entry.keyPurpose ?? '');
    }
    return purposes;
  }

  /** The highest version of a key that an entry names, up to `limit`; 0 for none. Verifies nothing. */
  async highestVersion(
    purpose: KeyPurpose,
    name: string,
    limit: number,
    connection?: C,
  ): Promise<number> {
    const { entries } = this.#parts;
    if (!(await entries.exists(connection))) return 0;
    return entries.highestVersion({ purpose, name, limit }, connection);
  }

  /** Records what is no change of a key, in a transaction of its own. */
  async record(...events: readonly AuditEvent[]): Promise<void> {
    if (this.#parts.options === false || events.length === 0) return;
    const seal = await this.#key.ready();
    await this.#parts.entries.transaction((connection) =>
      this.#log.append(events, seal, connection),
    );
  }

  /** Keys that the log knows, as far as it is whole, and the table does not have. */
  async missingKeys(records: readonly KeyRecord[]): Promise<LoggedKey[]> {
    const verification = new AuditVerification(this.#seals());
    await this.#follow(verification);
    const ids = new Set(records.map(({ id }) => id));
    return [...verification.keys.values()].filter(
      ({ id, state }) => !ids.has(id) && !isGivenUp(state),
    );
  }

  /**
   * Makes ready to record changes of keys.
   *
   * @param connection - the one that the caller holds, if any.
   * @returns what records them, as the last step of the transaction that makes them.
   */
  async recorder(
    changes: readonly KeyChange[],
    connection?: C,
  ): Promise<(transaction: C) => Promise<void>> {
    const events = eventsOf(changes);
    if (events.length === 0 || this.#parts.options === false) return () => Promise.resolve();
    // A compromised key is taken out of use even while it cannot be recorded; `verify` shows that it was.
    const mustNotWait = areRevocations(changes);
    const goOn = (error: unknown): void => {
      if (!mustNotWait || !(error instanceof FieldEncryptionError)) throw error;
      for (const event of events) this.#tellFailure(event, error);
    };
    try {
      const seal = await this.#sealFor(changes, connection);
      const onFailure = mustNotWait ? 'warn' : undefined;
      return (transaction) => this.#log.append(events, seal, transaction, onFailure).catch(goOn);
    } catch (error) {
      goOn(error);
      return () => Promise.resolve();
    }
  }

  /** Entries in their order. */
  async list({ after = 0, limit = 100 }: AuditRange = {}): Promise<AuditEntry[]> {
    if (!(await this.#parts.entries.exists())) return [];
    return this.#parts.entries.list({ after, limit });
  }

  /** Names the last entry, unverified; `null` without any. */
  async head(): Promise<string | null> {
    if (!(await this.#parts.entries.exists())) return null;
    const last = await this.#parts.entries.last();
    return last === undefined ? null : headOf(last);
  }

  /**
   * Verifies every entry, that the key table is as the last entries left it, and every key in it.
   *
   * @param expectHead - a head that was noted before: the log must still contain it.
   * @throws {@link ConfigurationError} for a text that is no head, {@link KmsUnavailableError} where
   * the KMS opens no key
   */
  async verify(expectHead?: string): Promise<AuditReport> {
    if (expectHead !== undefined && readHead(expectHead) === undefined) throw notAHead();
    const verification = new AuditVerification(this.#seals({ bearsOutages: true }), expectHead);
    const records = await this.#followToTheEnd(verification);
    const broken =
      verification.broken ?? begun(verification, records, this.#parts.options !== false);
    const keys = broken === undefined ? discrepancies(verification, records) : [];
    const found = await proveRows(this.#parts.wrapper, records);
    const unproven = [...found.unproven, ...(await this.#parts.store.duplicates()).map(thereTwice)];
    const { undecided } = found;
    const anchor = (await this.anchor?.compare()) ?? null;
    const findings = [keys, unproven, undecided, anchor ?? []];
    return {
      ok: broken === undefined && findings.every((found) => found.length === 0),
      entries: verification.entries,
      head: verification.head,
      broken: broken ?? null,
      keys,
      unproven,
      undecided,
      anchor,
    };
  }

  /** Forgets the key of the log, and what the anchor said. */
  clear(): void {
    this.#key.forget();
    this.anchor?.clear();
  }

  /** The key of the log itself may be among those that a restore brings back, or that are adopted. */
  async #sealFor(changes: readonly KeyChange[], connection?: C): Promise<AuditSeal> {
    const arriving = changes
      .filter((change) => change.type === 'insert' || change.adopted === true)
      .map(changedRecord)
      .find(({ purpose, state }) => purpose === 'audit' && state === 'active');
    return arriving === undefined ? this.#key.ready(connection) : this.#key.open(arriving);
  }

  /** Follows the log until the key table was read with no entry coming meanwhile. */
  async #followToTheEnd(verification: AuditVerification): Promise<readonly KeyRecord[]> {
    let records: readonly KeyRecord[] = [];
    await this.#follow(verification);
    for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
      const before = verification.entries;
      records = await this.#parts.store.list();
      await this.#follow(verification);
      if (verification.entries === before) break;
    }
    return records;
  }

  async #follow(verification: AuditVerification): Promise<void> {
    let page: AuditEntry[];
    do {
      page = await this.list({ after: verification.entries, limit: PAGE });
      await verification.follow(page);
    } while (page.length === PAGE && verification.broken === undefined);
  }

  /** @param how - `bearsOutages`: what the KMS fails on is told as a seal that does not open. */
  #seals(how: SealSearch<C> = {}): (keyId: string) => Promise<FoundSeal> {
    const found = new Map<string, FoundSeal>();
    return async (keyId) => {
      const seal = found.get(keyId) ?? (await this.#findSeal(keyId, how));
      found.set(keyId, seal);
      return seal;
    };
  }

  /** An entry may name a row that somebody made, and the rest is to be told nevertheless. */
  async #findSeal(
    keyId: string,
    { connection, bearsOutages = false }: SealSearch<C>,
  ): Promise<FoundSeal> {
    try {
      return await this.#key.find(keyId, connection);
    } catch (error) {
      if (!(error instanceof FieldEncryptionError)) throw error;
      if (error.retryable && !bearsOutages) throw error;
      return 'unopenedSeal';
    }
  }

  #tellFailure({ operation, key }: AuditEvent, { code }: FieldEncryptionError): void {
    this.#parts.emit({ type: 'auditFailed', operation, keyId: key?.id, code });
  }
}

/** The log begins with the creation of its own key, and while it is kept no key is older than its entry. */
function begun(
  { entries }: AuditVerification,
  records: readonly KeyRecord[],
  isKept: boolean,
): BrokenEntry | undefined {
  const isLost =
    entries === 0 &&
    records.some(({ purpose, state }) => purpose === 'audit' || (isKept && state !== 'destroyed'));
  return isLost ? { seq: 1, problem: 'truncated' } : undefined;
}

function discrepancies(
  { keys, entries }: AuditVerification,
  records: readonly KeyRecord[],
): KeyDiscrepancy[] {
  const rows = new Map(records.map((record) => [record.id, record]));
  const changed = [...keys.values()].flatMap(({ id, state, epoch }) => {
    const row = rows.get(id);
    if (row === undefined ? isGivenUp(state) : agrees(row, state, epoch)) return [];
    const found = row?.state ?? null;
    const foundEpoch = row?.epoch ?? null;
    return [{ keyId: id, logged: state, found, loggedEpoch: epoch, foundEpoch }];
  });
  // Nothing tells a log that began after its keys from one that was begun again to hide what it said.
  const unrecorded = records.filter(
    ({ id, state }) => entries > 0 && !keys.has(id) && state !== 'destroyed',
  );
  return [
    ...changed,
    ...unrecorded.map(({ id, state, epoch }) => ({
      keyId: id,
      logged: null,
      found: state,
      loggedEpoch: null,
      foundEpoch: epoch,
    })),
  ];
}

function agrees(row: KeyRecord, state: string, epoch: number | null): boolean {
  return row.state === state && row.epoch >= (epoch ?? 0);
}

/** Whether a key need not have a row. */
function isGivenUp(state: string): boolean {
  return state === 'destroyed' || state === MISSING;
}

function thereTwice(keyId: string): UnprovenKey {
  const message =
    `several rows of data_keys have the id ${keyId}, and one of them is taken for the key: the table has lost its ` +
    'primary key. Remove the rows that are not the right one, and restore the primary key and the unique indexes; ' +
    '`field-encryption doctor` names them.';
  return { keyId, code: 'ERR_KEY_STATE', message };
}

function notAHead(): ConfigurationError {
  return new ConfigurationError(
    'audit verify: the expected head is none. It looks like 17:… with 43 characters after the colon, ' +
      'as `audit head` prints it.',
  );
}
