import type {
  AuditEntry,
  AuditEvent,
  AuditOptions,
  AuditRange,
  AuditStore,
  RecordEvents,
} from '../../audit/audit-entry';
import { actorOf, headOf } from '../../audit/audit-entry';
import { AuditLog } from '../../audit/audit-log';
import { AuditVerification } from '../../audit/audit-verification';
import type { LoggedKey } from '../../audit/audit-verification';
import { FieldEncryptionError } from '../../errors';
import type { KeyTableAnchor } from '../anchor/anchor-state';
import { KeyAnchor } from '../anchor/key-anchor';
import type { KeyEventListener } from '../record/key-event';
import type { KeyPurpose, KeyRecord } from '../record/key-record';
import { areRevocations, eventsOf } from '../store/key-change-events';
import type { KeyChange, KeyStore } from '../store/key-store';
import type { KeyWrapper } from '../wrapping/key-wrapper';

import { AuditKey } from './audit-key';
import { followLog } from './follow-log';
import { knownPurposes } from './known-purposes';
import { provenEntry } from './proven-entry';
import { expectation, followedLog, judgedLog } from './verify-log';
import type * as Verifying from './verify-log';

/** The parts of a {@link KeyAudit}. */
export interface KeyAuditParts<C> {
  /** The key table, without the recording of changes. */
  readonly store: KeyStore<C>;
  readonly entries: AuditStore<C>;
  /** `false` records nothing; earlier entries can be read. */
  readonly options: AuditOptions | false;
  /** See {@link AuditLog}. */
  readonly before?: ((connection: C) => Promise<AuditEvent | undefined>) | undefined;
  readonly wrapper: KeyWrapper;
  readonly application: string;
  readonly anchor?: KeyTableAnchor | undefined;
  readonly maxAgeMs: number;
  readonly clock: () => number;
  readonly wallClock: () => Date;
  readonly emit: KeyEventListener;
}

/** The most entries with one reference that are read. */
const PAGE = 500;

/** The audit log of the keys: recorded with their changes, read, and verified. */
export class KeyAudit<C> {
  readonly #parts: KeyAuditParts<C>;
  readonly #log: AuditLog<C>;
  /** Seals the access log, too. */
  readonly key: AuditKey<C>;
  /** Undefined where the key table has no anchor. */
  readonly anchor: KeyAnchor<C> | undefined;
  /** Returns the actor of an entry that would be written now. */
  readonly actor = (): string => actorOf(this.#parts.options || {});

  constructor(parts: KeyAuditParts<C>) {
    this.#parts = parts;
    const { before, entries, options, wallClock } = parts;
    const onFailure = this.#emitFailure.bind(this);
    this.#log = new AuditLog({
      store: entries,
      options: options || {},
      wallClock,
      onFailure,
      before,
    });
    this.key = new AuditKey({ ...parts, log: this.#log });
    this.anchor =
      parts.anchor &&
      new KeyAnchor({
        ...parts,
        port: parts.anchor,
        seal: (connection) => this.key.ready(connection),
        findSeal: (keyId, connection) => this.key.findSeal(keyId, connection),
      });
  }

  /** Returns the last entry about a version of a key. */
  lastOfKey(purpose: KeyPurpose, name: string, connection?: C): Promise<AuditEntry | undefined> {
    return this.#read((log) => log.lastOfKey(purpose, name, connection), undefined, connection);
  }

  /** See {@link knownPurposes}. Undefined also where there is no log to go by. */
  async purposesOf(
    key: Pick<KeyRecord, 'id' | 'purpose' | 'name'>,
    connection?: C,
  ): Promise<ReadonlySet<string> | undefined> {
    const { entries, options } = this.#parts;
    if (options === false || !(await entries.exists(connection))) return undefined;
    return knownPurposes(entries, this.key.finder({ connection }), key, connection);
  }

  /** {@link KeyAudit.lastKnown}, but undefined where nothing is recorded. */
  async lastAbout(id: string, connection?: C): Promise<AuditEntry | null | undefined> {
    return this.#parts.options === false ? undefined : this.lastKnown(id, connection);
  }

  /** Returns the last entry about a key or a mark, `null` without one whose seal holds. */
  async lastKnown(id: string, connection?: C): Promise<AuditEntry | null> {
    return this.proven(await this.about(id, 1, connection), connection);
  }

  /** Returns the last entries about a key or a mark, the newest first. Verifies nothing. */
  about(id: string, limit = PAGE, connection?: C): Promise<AuditEntry[]> {
    return this.#read((log) => log.ofKey(id, limit, connection), [], connection);
  }

  /** Returns the first of some entries if its seal holds; `null` if not, or if there is none. */
  proven(found: readonly AuditEntry[], connection?: C): Promise<AuditEntry | null> {
    return provenEntry(found, this.key.finder({ connection }));
  }

  /** Returns the last entries with a reference, such as the id of a run. Verifies nothing. */
  referringTo(reference: string, connection?: C): Promise<AuditEntry[]> {
    return this.#read((log) => log.referringTo(reference, PAGE, connection), [], connection);
  }

  /** Returns the highest version of a key in any entry, up to `limit`; 0 for none. Verifies nothing. */
  highestVersion(
    purpose: KeyPurpose,
    name: string,
    limit: number,
    connection?: C,
  ): Promise<number> {
    const key = { purpose, name, limit };
    return this.#read((log) => log.highestVersion(key, connection), 0, connection);
  }

  /** Records events that are no changes of a key, in a transaction of their own. */
  async record(...events: readonly AuditEvent[]): Promise<void> {
    if (this.#parts.options === false || events.length === 0) return;
    const append = await this.readyToRecord();
    await this.#parts.entries.transaction((to) => append(events, to));
  }

  /** Prepares to record events, on the caller's connection, if it holds one. */
  async readyToRecord(connection?: C): Promise<RecordEvents<C>> {
    if (this.#parts.options === false) return () => Promise.resolve();
    const seal = await this.key.ready(connection);
    return (events, transaction) => this.#log.append(events, seal, transaction);
  }

  /** Records what has happened, and returns whether it could: a failure is an `auditFailed` event. */
  note(event: AuditEvent): Promise<boolean> {
    const failed = (error: unknown): boolean => {
      this.#emitFailure(event, error);
      return false;
    };
    return this.record(event).then(() => true, failed);
  }

  /** Verifies the log as far as it is unbroken, and returns the keys in it after their last operations. */
  async keysInLog(): Promise<LoggedKey[]> {
    const verification = new AuditVerification(this.key.finder());
    await followLog(verification, (range) => this.list(range));
    return [...verification.keys.values()];
  }

  /**
   * Prepares to record changes of keys.
   *
   * @param connection - the caller's, if it holds one.
   * @returns a function that records them, as the last step of the transaction that makes them.
   */
  async recorder(
    changes: readonly KeyChange[],
    connection?: C,
  ): Promise<(transaction: C) => Promise<void>> {
    const events = eventsOf(changes);
    if (events.length === 0 || this.#parts.options === false) return () => Promise.resolve();
    // A compromised key is taken out of use even if that cannot be recorded; `verify` shows that it was.
    const mustNotWait = areRevocations(changes);
    const goOn = (error: unknown): void => {
      if (!mustNotWait || !(error instanceof FieldEncryptionError)) throw error;
      for (const event of events) this.#emitFailure(event, error);
    };
    try {
      const seal = await this.key.readyFor(changes, connection);
      const onFailure = mustNotWait ? 'warn' : undefined;
      return (transaction) => this.#log.append(events, seal, transaction, onFailure).catch(goOn);
    } catch (error) {
      goOn(error);
      return () => Promise.resolve();
    }
  }

  /** Returns entries in their order: the newest, or those that follow `after`. */
  list({ limit = 100, ...range }: AuditRange = {}, connection?: C): Promise<AuditEntry[]> {
    return this.#read((log) => log.list({ limit, ...range }, connection), [], connection);
  }

  /** Returns the head of the log, unverified; `null` without entries. */
  async head(): Promise<string | null> {
    const last = await this.#read((log) => log.last(), undefined);
    return last === undefined ? null : headOf(last);
  }

  /**
   * Verifies every entry, that the key table is as the last entries left it, and every key in it. The anchor learns the
   * tree of a log without a fault.
   *
   * @param expected - what the log must still contain.
   * @throws `ConfigurationError` for a malformed head, {@link KmsUnavailableError} if no key opens
   */
  async verify(expected: Verifying.ExpectedLog = {}): Promise<Verifying.VerifiedLog> {
    return this.judge(await this.follow(await this.expectation(expected)));
  }

  /** Returns what the log must contain, of the anchor as well: before {@link KeyAudit.follow}, which may hold a connection. */
  async expectation(expected: Verifying.ExpectedLog = {}): Promise<Verifying.Expectation> {
    return expectation(expected, await this.anchor?.log());
  }

  /** Verifies every entry, the first part of {@link KeyAudit.verify}, on the caller's connection if it holds one. */
  follow(expected: Verifying.Expectation, how: Verifying.FollowOptions<C> = {}) {
    const findSeal = this.key.finder({ bearsOutages: true, connection: how.connection });
    const parts = { store: this.#parts.store, findSeal, list: this.list.bind(this) };
    return followedLog(parts, expected, how);
  }

  /** Proves the keys, the second part of {@link KeyAudit.verify}. Takes no connection of the caller's. */
  judge(followed: Verifying.FollowedLog): Promise<Verifying.VerifiedLog> {
    const { options, wrapper } = this.#parts;
    return judgedLog(followed, { wrapper, isKept: options !== false, anchor: this.anchor });
  }

  /** Forgets the key of the log and the content of the anchor. */
  clear(): void {
    this.key.forget();
    this.anchor?.clear();
  }

  /** Reads entries, or returns `none` where there is no table of them. */
  async #read<T>(read: (log: AuditStore<C>) => Promise<T>, none: T, connection?: C): Promise<T> {
    const { entries } = this.#parts;
    return (await entries.exists(connection)) ? read(entries) : none;
  }

  #emitFailure({ operation, key }: AuditEvent, error: unknown): void {
    const code = error instanceof FieldEncryptionError ? error.code : 'ERR_AUDIT';
    this.#parts.emit({ type: 'auditFailed', operation, keyId: key?.id, code });
  }
}
