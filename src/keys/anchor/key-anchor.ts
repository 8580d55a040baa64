import { Lifetime } from '../../async/lifetime';
import { settleAll } from '../../async/settle-all';
import type { AuditSeal } from '../../audit/audit-log';
import type { TreeHead } from '../../audit/merkle-tree';
import { FieldEncryptionError } from '../../errors';
import type { KeyEventListener } from '../record/key-event';
import type { KeyRecord } from '../record/key-record';
import type { KnownKey } from '../record/key-state';
import type { KeyEpochs } from '../store/key-epochs';
import type { KeyStore } from '../store/key-store';
import type { KeyWrapper } from '../wrapping/key-wrapper';

import { anchorAway, notAnAnchor } from './anchor-errors';
import { discrepancies } from './anchor-discrepancy';
import type { AnchorDiscrepancy } from './anchor-discrepancy';
import { holdsState, mergedState, parseAnchor, sealAnchor } from './anchor-state';
import type { AnchorState, KeyTableAnchor, SealedAnchor } from './anchor-state';
import { knowsApprovals, mergedFacts, withoutLog } from './anchored-facts';
import type { AnchoredFacts } from './anchored-facts';

/** The parts that the anchor works with. */
export interface KeyAnchorParts<C> {
  readonly port: KeyTableAnchor;
  readonly application: string;
  readonly store: KeyStore<C>;
  readonly wrapper: KeyWrapper;
  readonly seal: (connection?: C) => Promise<AuditSeal>;
  readonly findSeal: (keyId: string, connection?: C) => Promise<AuditSeal | undefined>;
  readonly emit: KeyEventListener;
}

/** How often the anchor is written anew because another process wrote it meanwhile. */
const ATTEMPTS = 5;
/** Keys proven at a time. */
const CONCURRENCY = 8;

/** The anchor of a key table: keeps what processes know of its rows, and teaches it to them. */
export class KeyAnchor<C> {
  readonly #parts: KeyAnchorParts<C>;
  readonly #epochs: KeyEpochs;
  #isChecked = false;
  #advancing: Promise<void> | undefined;
  /** Ends with {@link KeyAnchor.clear}. */
  readonly #lifetime = new Lifetime();
  /** Revision of the knowledge that the anchor held when it was last read. */
  #heldRevision = 0;
  #facts: AnchoredFacts | undefined;

  constructor(parts: KeyAnchorParts<C>) {
    this.#parts = parts;
    this.#epochs = parts.wrapper.epochs;
  }

  /**
   * Learns what the anchor knows, once: older rows are refused from then on. Other rows are proven and learnt, too.
   *
   * @param connection - the caller's, if it holds one.
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
      // Without a key to seal it the anchor cannot begin: the first such key will write it.
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

  /** Returns what is known of approvals. Throws what {@link KeyAnchor.check} does. */
  async approvals(): Promise<AnchoredFacts | undefined> {
    return this.#approvalsIn(await this.#read());
  }

  /** Returns the largest tree of the audit log that was verified. Throws what {@link KeyAnchor.check} does. */
  async log(): Promise<TreeHead | undefined> {
    return (await this.#opened(await this.#read()))?.facts?.log;
  }

  /** Remembers facts, and writes them as {@link KeyAnchor.advance} does. */
  async note(facts: AnchoredFacts, connection?: C): Promise<void> {
    await this.check(connection);
    const before = this.#facts;
    this.#facts = mergedFacts(before, facts, Date.now());
    await this.#advance(connection).catch((error: unknown) => {
      // What was not written must not count for this process alone.
      this.#facts = before;
      throw error;
    });
    // A log that is given up later must not come back.
    this.#facts = withoutLog(this.#facts);
  }

  /** Writes the tree of a log that was verified, if it is larger than the one that the anchor knows. Never rejects. */
  noteLog(log: TreeHead): Promise<void> {
    return this.#quietly(() => this.note({ used: {}, log }));
  }

  /** Writes what the anchor does not know. Never rejects: the next process brings up an anchor that is behind. */
  async advance(connection?: C): Promise<void> {
    // Before its first check it would overwrite what it has not seen.
    if (!this.#isChecked) return;
    // A caller that holds a connection must not wait for one that waits for it.
    if (connection !== undefined) return this.#quietly(() => this.#advance(connection));
    this.#advancing ??= this.#quietly(() => this.#advance()).finally(() => {
      this.#advancing = undefined;
    });
    return this.#advancing;
  }

  /** Whether there is something to write. */
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
    const facts = withoutLog(await this.#approvalsIn(previous));
    await this.#write({ acceptedEpoch, keys: this.#epochs.known(), facts }, seal, previous);
    this.#heldRevision = this.#epochs.revision;
    this.#isChecked = true;
  }

  /** Forgets that it was checked. A write under way fails quietly from then on. */
  clear(): void {
    this.#lifetime.end();
    this.#isChecked = false;
    this.#heldRevision = 0;
  }

  async #quietly(work: () => Promise<void>): Promise<void> {
    const isOpen = this.#lifetime.current();
    try {
      await work();
    } catch (error) {
      // The connections were closed under it.
      if (!isOpen()) return;
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
      const facts = mergedFacts(state?.facts, this.#facts, Date.now());
      const merged = mergedState(state, { keys: this.#epochs.known(), facts });
      // Read again after each write: another process may have written at the same moment.
      if (holdsState(state, merged)) {
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

  /** An anchor without approvals need not open: an older table may be accepted because it does not. */
  async #approvalsIn(text: string | undefined): Promise<AnchoredFacts | undefined> {
    const isClaimed = text !== undefined && knowsApprovals(parseAnchor(text)?.facts);
    const state = isClaimed ? await this.#opened(text) : undefined;
    return mergedFacts(state?.facts, this.#facts, Date.now());
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

  /** Proves rows so that the anchor knows all keys, not only those in use. Failures are left out. */
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
