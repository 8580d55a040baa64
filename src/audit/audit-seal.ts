import type { KeyObject } from 'node:crypto';

import { equalInConstantTime } from '../crypto/constant-time';
import { hmacSha256 } from '../crypto/hmac';
import { LABELS } from '../crypto/labels';
import { lengthPrefixed } from '../encoding/length-prefixed';
import type { AuditEntry, UnsealedEntry } from './audit-entry';

/** Seals entries with one key. */
export class AuditSeal {
  readonly keyId: string;
  readonly #key: KeyObject;

  /** @param key - derived for this and nothing else. */
  constructor(keyId: string, key: KeyObject) {
    this.keyId = keyId;
    this.#key = key;
  }

  /** `HMAC-SHA-256(key, lengthPrefixed(label, previous hash, entry))`. */
  sealed(entry: UnsealedEntry): AuditEntry {
    return { ...entry, hash: this.#mac(entry).toString('base64url') };
  }

  /** Whether the entry is as it was sealed. */
  holds(entry: AuditEntry): boolean {
    const expected = this.#mac(entry).toString('base64url');
    return equalInConstantTime(Buffer.from(expected), Buffer.from(entry.hash));
  }

  /** `HMAC-SHA-256(key, lengthPrefixed(label, parts))`, for what is kept beside the log. */
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
