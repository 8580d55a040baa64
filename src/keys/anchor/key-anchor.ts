import type { AuditSeal } from '../../audit/audit-log';
import { FieldEncryptionError, KeyStateError } from '../../errors';
import { isAtLeastAsRestricted } from '../store/key-epochs';
import type { KeyEpochs, KnownKey } from '../store/key-epochs';
import type { KeyEventListener } from '../record/key-event';
import type { KeyRecord } from '../record/key-record';
import type { KeyState } from '../record/key-state';
import { stateInWords } from '../record/key-state';
import type { KeyStore } from '../store/key-store';
import type { KeyWrapper } from '../wrapping/key-wrapper';
import { settleAll } from '../../async/settle-all';
import type { AnchorState, SealedAnchor, KeyTableAnchor } from './anchor-state';
import { parseAnchor, sealAnchor } from './anchor-state';

/** A key whose row is older than the anchor knows it, or gone. */
export interface AnchorDiscrepancy {
  readonly keyId: string;
  /** State and epoch in which the anchor knows it. */
  readonly anchored: { readonly state: KeyState; readonly epoch: number };
  /** State and epoch of its row; `null` without one. */
  readonly found: { readonly state: KeyState; readonly epoch: number } | null;
}

/** What the anchor works with. */
export interface KeyAnchorParts<C> {
  readonly port: KeyTableAnchor;
  readonly application: string;
  readonly store: KeyStore<C>;
  readonly wrapper: KeyWrapper;
  readonly seal: (connection?: C) => Promise<AuditSeal>;
  readonly findSeal: (keyId: string, connection?: C) => Promise<AuditSeal | undefined>;
  readonly emit: KeyEventListener;
}

/** How often the anchor is written again because another process wrote it meanwhile. */
const ATTEMPTS = 5;
/** Keys that are proven at a time. */
const CONCURRENCY = 8;

/** Keeps what is known of the key table in an anchor, and tells the process what it knew before. */
export class KeyAnchor<C> {
  readonly #parts: KeyAnchorParts<C>;
  readonly #epochs: KeyEpochs;
  #isChecked = false;
  #advancing: Promise<void> | undefined;
  /** Goes up with {@link KeyAnchor.clear}, so that what began before is known by it. */
  #generation = 0;
  /** Of what is known, as the anchor held it when it was last looked at. */
  #heldRevision = 0;

  constructor(parts: KeyAnchorParts<C>) {
    this.#parts = parts;
    this.#epochs = parts.wrapper.epochs;
  }

  /**
   * Takes in what the anchor knows, once: older rows are refused from then on. What the table has that
   * the anchor has not is proven and taken in, too.
   *
   * @param connection - the one that the caller holds, if any.
   * @throws {@link KeyStateError} for an anchor that cannot be read (retryable) or was not written by
   * this application; what unwrapping the key of the audit log throws
   */
  async check(connection?: C): Promise<void> {
    if (this.#isChecked) return;
    const text = await this.#read();
    const state = await this.#opened(text, connection);
    this.#epochs.learn(state?.keys ?? [], true);
    const records = await this.#parts.store.list(connection);
    await this.#prove(records, state?.keys ?? []);
    this.#isChecked = true;
    if (state === undefined) {
      // Without a key that seals it there is nothing to begin with: the first one brings it along.
      if (records.some(isSealing)) await this.advance(connection);
      return;
    }
    const keyIds = discrepancies(state.keys, records).map(({ keyId }) => keyId);
    if (keyIds.length > 0) this.#parts.emit({ type: 'keyTableOlder', keyIds });
  }

  /** Compares the key table with the anchor as it is now. Throws what {@link KeyAnchor.check} does. */
  async compare(connection?: C): Promise<AnchorDiscrepancy[]> {
    const state = await this.#opened(await this.#read(), connection);
    return discrepancies(state?.keys ?? [], await this.#parts.store.list(connection));
  }

  /**
   * Writes down what this process knows and the anchor does not. Never rejects: what was committed is,
   * and an anchor that is behind is brought up by the next process.
   */
  async advance(connection?: C): Promise<void> {
    // Before its first check it would write over what it has not seen.
    if (!this.#isChecked) return;
    // Who holds a connection must not wait for one who waits for it.
    if (connection !== undefined) return this.#quietly(() => this.#advance(connection));
    this.#advancing ??= this.#quietly(() => this.#advance()).finally(() => {
      this.#advancing = undefined;
    });
    return this.#advancing;
  }

  /** Whether there is something to write down. */
  get isBehind(): boolean {
    return this.#isChecked && this.#epochs.revision !== this.#heldRevision;
  }

  /**
   * Replaces the anchor by the table as it was accepted.
   *
   * @throws {@link KeyStateError}, retryable, when it cannot be written
   */
  async accept(acceptedEpoch: number): Promise<void> {
    const previous = await this.#read();
    const seal = await this.#parts.seal();
    await this.#write({ acceptedEpoch, keys: this.#epochs.known() }, seal, previous);
    this.#heldRevision = this.#epochs.revision;
    this.#isChecked = true;
  }

  /** Forgets that it was checked. A writing that is under way fails quietly from then on. */
  clear(): void {
    this.#generation += 1;
    this.#isChecked = false;
    this.#heldRevision = 0;
  }

  async #quietly(work: () => Promise<void>): Promise<void> {
    const generation = this.#generation;
    try {
      await work();
    } catch (error) {
      // The connections were closed under it.
      if (generation !== this.#generation) return;
      const code = error instanceof FieldEncryptionError ? error.code : undefined;
      this.#parts.emit({ type: 'anchorFailed', code });
    }
  }

  async #advance(connection?: C): Promise<void> {
    for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
      const { revision } = this.#epochs;
      const previous = await this.#read();
      const state = await this.#opened(previous, connection);
      this.#epochs.giveUp(state?.acceptedEpoch ?? 0);
      const merged = merge(state, this.#epochs.known());
      // Looked at after each writing: another process may have written at the same moment.
      if (holds(state, merged.keys)) {
        this.#heldRevision = revision;
        return;
      }
      const seal = await this.#parts.seal(connection);
      try {
        await this.#write(merged, seal, previous);
      } catch (error) {
        if (attempt === ATTEMPTS) throw error;
        continue;
      }
      if (state === undefined) {
        this.#parts.emit({ type: 'anchorBegun', epoch: this.#epochs.newest });
      }
    }
  }

  async #write(state: AnchorState, seal: AuditSeal, previous: string | undefined): Promise<void> {
    const text = sealAnchor(state, seal, this.#parts.application);
    try {
      await this.#parts.port.write(text, previous);
    } catch (cause) {
      throw anchorAway('written', cause);
    }
  }

  async #read(): Promise<string | undefined> {
    try {
      const text = await this.#parts.port.read();
      return text === undefined || text.trim() === '' ? undefined : text;
    } catch (cause) {
      throw anchorAway('read', cause);
    }
  }

  async #opened(text: string | undefined, connection?: C): Promise<AnchorState | undefined> {
    if (text === undefined) return undefined;
    const state = parseAnchor(text);
    if (state === undefined) throw notAnAnchor('is not one that this library wrote');
    return this.#verified(state, connection);
  }

  async #verified(state: SealedAnchor, connection?: C): Promise<AnchorState> {
    const seal = await this.#parts.findSeal(state.sealedBy, connection);
    if (seal === undefined) {
      throw notAnAnchor(
        `is sealed with key ${state.sealedBy}, which is not in the key table: the table was lost, or ` +
          'belongs to another application',
      );
    }
    if (state.holds(seal, this.#parts.application)) return state;
    throw notAnAnchor('was changed by somebody else');
  }

  /** So that the anchor knows all keys, not only those in use; one that fails is left out. */
  async #prove(records: readonly KeyRecord[], anchored: readonly KnownKey[]): Promise<void> {
    const epochs = new Map(anchored.map(({ id, epoch }) => [id, epoch]));
    const newer = records.filter(
      ({ id, epoch, state }) => state !== 'destroyed' && epoch > (epochs.get(id) ?? -1),
    );
    await settleAll(newer, CONCURRENCY, async (record) => {
      await this.#parts.wrapper.unwrap(record);
    }).catch(() => undefined);
  }
}

function isSealing({ purpose, state }: KeyRecord): boolean {
  return purpose === 'audit' && state === 'active';
}

/** What an anchor says when it takes these keys in. */
function merge(state: AnchorState | undefined, known: readonly KnownKey[]): AnchorState {
  const { acceptedEpoch = 0, keys = [] } = state ?? {};
  const merged = new Map(keys.map((key) => [key.id, key]));
  for (const key of known) {
    const before = merged.get(key.id);
    // What was given up with an older table is not for one that still remembers it to bring back.
    if (acceptedEpoch > 0 && key.epoch <= acceptedEpoch) continue;
    if (before?.state === 'destroyed' && key.state !== 'destroyed') continue;
    if (before === undefined || before.epoch < key.epoch) merged.set(key.id, key);
  }
  return { acceptedEpoch, keys: [...merged.values()] };
}

function holds(state: AnchorState | undefined, keys: readonly KnownKey[]): boolean {
  const epochs = new Map(state?.keys.map(({ id, epoch }) => [id, epoch]));
  return keys.every(({ id, epoch }) => (epochs.get(id) ?? -1) >= epoch);
}

/** What is known of keys and not in their rows. */
export function discrepancies(
  anchored: readonly KnownKey[],
  records: readonly KeyRecord[],
): AnchorDiscrepancy[] {
  const rows = new Map(records.map((record) => [record.id, record]));
  return anchored.flatMap((known) => {
    const row = rows.get(known.id);
    if (row === undefined ? known.state === 'destroyed' : !isBehind(row, known)) return [];
    const found = row === undefined ? null : { state: row.state, epoch: row.epoch };
    return [{ keyId: known.id, anchored: { state: known.state, epoch: known.epoch }, found }];
  });
}

function isBehind(row: KeyRecord, known: KnownKey): boolean {
  // Nothing follows it but the acceptance of an older table, after which the anchor says otherwise: the
  // epoch of a row without a proof is anybody's.
  if (known.state === 'destroyed') return row.state !== 'destroyed';
  const isHonoured = row.state === 'compromised' || row.state === 'destroyed';
  if (isHonoured && isAtLeastAsRestricted(row, known)) return false;
  if (row.epoch !== known.epoch) return row.epoch < known.epoch;
  // As for the process itself: a process of an earlier version may have changed it.
  return row.epoch === 0 ? !isAtLeastAsRestricted(row, known) : row.state !== known.state;
}

function anchorAway(what: 'read' | 'written', cause: unknown): KeyStateError {
  return new KeyStateError(
    `the anchor of the key table cannot be ${what}; see the cause. Until it is, this process cannot know ` +
      'whether older keys were put back.',
    { retryable: true, cause },
  );
}

function notAnAnchor(why: string): KeyStateError {
  return new KeyStateError(
    `the anchor of the key table ${why}. Put the anchor and the table back; or, if this table is the right ` +
      'one: field-encryption keys accept-epoch <epoch> --reason "..."',
  );
}

/** For a process that wants to know at its start. */
export function olderThanAnchor(
  older: readonly AnchorDiscrepancy[],
  newest: number,
): KeyStateError {
  const described = older.map(({ keyId, anchored, found }) => {
    const was = `${anchored.state} at epoch ${String(anchored.epoch)}`;
    return `key ${keyId} was ${was} and is ${found === null ? 'missing' : `${stateInWords(found.state)} at epoch ${String(found.epoch)}`}`;
  });
  return new KeyStateError(
    `the key table is older than its anchor: ${described.join('; ')}. Put the newer rows back; or, if the table ` +
      `was restored on purpose: field-encryption keys accept-epoch ${String(newest)} --reason "..."`,
    older[0] === undefined ? {} : { keyId: older[0].keyId },
  );
}
