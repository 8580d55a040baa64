import type { KeyObject } from 'node:crypto';
import { timeout, TimeoutStrategy } from 'cockatiel';

import { hmacSha256 } from '../crypto/hmac';
import { LABELS } from '../crypto/labels';
import { equalInConstantTime } from '../crypto/secret-bytes';
import { lengthPrefixed } from '../encoding/length-prefixed';
import { AuditError, KeyStateError } from '../errors';

import { actorOf } from './audit-entry';
import type {
  AuditEntry,
  AuditEvent,
  AuditOptions,
  AuditStore,
  UnsealedEntry,
} from './audit-entry';

/** A key that seals entries. */
export class AuditSeal {
  readonly keyId: string;
  readonly #key: KeyObject;

  /** @param key - derived for this purpose alone. */
  constructor(keyId: string, key: KeyObject) {
    this.keyId = keyId;
    this.#key = key;
  }

  /** Adds the hash, `HMAC-SHA-256(key, lengthPrefixed(label, previous hash, entry))`. */
  sealed(entry: UnsealedEntry): AuditEntry {
    return { ...entry, hash: this.#mac(entry).toString('base64url') };
  }

  /** Whether the entry is unchanged since it was sealed. */
  holds(entry: AuditEntry): boolean {
    const expected = this.#mac(entry).toString('base64url');
    return equalInConstantTime(Buffer.from(expected), Buffer.from(entry.hash));
  }

  /** Returns `HMAC-SHA-256(key, lengthPrefixed(label, parts))`, for data that is kept outside of the log. */
  mac(label: string, parts: readonly (string | Uint8Array)[]): Buffer {
    return hmacSha256(this.#key, lengthPrefixed([label, ...parts]));
  }

  #mac(entry: UnsealedEntry): Buffer {
    return hmacSha256(this.#key, sealedBytes(entry));
  }
}

function sealedBytes(entry: UnsealedEntry): Uint8Array {
  const { keyId, keyName, keyPurpose, keyVersion, keyState, kms, kek, reference } = entry;
  const optional = [keyId, keyName, keyPurpose, keyVersion, keyState, kms, kek, reference];
  const counts = Object.entries(entry.counts).sort(([a], [b]) => (a < b ? -1 : 1));
  return lengthPrefixed([
    LABELS.auditEntry,
    entry.previousHash,
    String(entry.seq),
    entry.time,
    entry.actor,
    entry.operation,
    entry.outcome,
    ...optional.map((value) => lengthPrefixed(value === null ? [] : [String(value)])),
    lengthPrefixed(counts.flatMap(([name, count]) => [name, String(count)])),
    entry.sealedBy,
  ]);
}

const SINK_TIMEOUT_MS = 10_000;
/** How often an entry is renumbered because another writer took its number: also for each that a snapshot lacks. */
const ATTEMPTS = 1_000;
/** The highest number that the column holds in every database. */
const MAX_SEQ = 2 ** 31 - 1;

/** The parts of an audit log. */
interface AuditLogParts<C> {
  readonly store: AuditStore<C>;
  readonly options: AuditOptions;
  readonly wallClock: () => Date;
  /** Receives a failure that did not stop the operation. */
  readonly onFailure: (event: AuditEvent, error: AuditError) => void;
  /** Returns what is recorded before other events, in their transaction; throws to refuse them. Defaults to nothing. */
  readonly before?: ((connection: C) => Promise<AuditEvent | undefined>) | undefined;
}

/** The chain of entries, each sealed together with the hash of the previous one. */
export class AuditLog<C> {
  readonly #parts: AuditLogParts<C>;
  readonly #sinkTimeout = timeout(SINK_TIMEOUT_MS, TimeoutStrategy.Aggressive);

  constructor(parts: AuditLogParts<C>) {
    this.#parts = parts;
  }

  /**
   * Appends events within the transaction of `connection`, as its last step: other writers wait from here
   * to its end.
   *
   * @param onFailure - the effect of a failing sink. Defaults to that of the options.
   * @throws {@link AuditError} if the sink fails and is to block; {@link KeyStateError} for a log whose last
   * entry this library did not write, and, retryable, if others are always faster
   */
  async append(
    events: readonly AuditEvent[],
    seal: AuditSeal,
    connection: C,
    onFailure = this.#parts.options.onFailure ?? 'block',
  ): Promise<void> {
    const before = await this.#parts.before?.(connection);
    for (const event of before === undefined ? events : [before, ...events]) {
      const entry = await this.#appendOne(event, seal, connection);
      await this.#ship(event, entry, onFailure);
    }
  }

  /** Appends an entry, after that of another writer if that took the next number first. */
  async #appendOne(event: AuditEvent, seal: AuditSeal, connection: C): Promise<AuditEntry> {
    const { store } = this.#parts;
    let taken: number | undefined;
    for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
      const previous = await store.last(connection, taken);
      requireContinuable(previous, event);
      const entry = seal.sealed(this.#entry(event, previous, seal));
      if (await store.append(entry, connection)) return entry;
      taken = entry.seq;
    }
    throw new KeyStateError('Too many others write to the audit log at once. Try again.', {
      retryable: true,
    });
  }

  #entry(
    { operation, outcome, key, mark, reference, counts = {} }: AuditEvent,
    previous: AuditEntry | undefined,
    seal: AuditSeal,
  ): UnsealedEntry {
    const subject = key ?? mark;
    requireWhole(counts);
    return {
      seq: (previous?.seq ?? 0) + 1,
      time: this.#parts.wallClock().toISOString(),
      actor: actorOf(this.#parts.options),
      operation,
      outcome,
      keyId: subject?.id ?? null,
      keyName: subject?.name ?? null,
      keyPurpose: subject?.purpose ?? null,
      keyVersion: subject?.version ?? null,
      keyState: key?.state ?? null,
      kms: key?.kms ?? null,
      kek: subject?.kek ?? null,
      reference: reference ?? null,
      counts,
      sealedBy: seal.keyId,
      previousHash: previous?.hash ?? '',
    };
  }

  async #ship(event: AuditEvent, entry: AuditEntry, onFailure: 'block' | 'warn'): Promise<void> {
    const { sink } = this.#parts.options;
    if (sink === undefined) return;
    try {
      await this.#sinkTimeout.execute(async () => sink(entry));
    } catch (cause) {
      const error = new AuditError(
        `the audit sink did not take the entry of "${event.operation}"; see the cause. ` +
          (onFailure === 'block'
            ? 'Nothing was changed. Bring the sink back and try again.'
            : 'The operation went on.'),
        { cause, ...(event.key === undefined ? {} : { keyId: event.key.id }) },
      );
      if (onFailure === 'block') throw error;
      this.#parts.onFailure(event, error);
    }
  }
}

/** Refuses what would not be read back as it was sealed. */
function requireWhole(counts: Readonly<Record<string, number>>): void {
  const odd = Object.entries(counts).find(([, count]) => !Number.isSafeInteger(count));
  if (odd !== undefined) throw new TypeError(`an entry counts ${odd[0]}: ${String(odd[1])}`);
}

/** @throws {@link KeyStateError} for a last entry that no other can follow */
function requireContinuable(previous: AuditEntry | undefined, event: AuditEvent): void {
  if (previous === undefined || isFollowable(previous.seq)) return;
  throw new KeyStateError(
    `the last entry of the audit log has the number ${String(previous.seq)}, after which there is none. ` +
      'It was put there past the library: `field-encryption audit verify` names the first entry that is wrong.',
    event.key === undefined ? {} : { keyId: event.key.id },
  );
}

function isFollowable(seq: number): boolean {
  return Number.isInteger(seq) && seq > 0 && seq < MAX_SEQ;
}
