import { hkdfSha256, hmacKey, hmacSha256 } from '../../crypto/hmac';
import { LABELS } from '../../crypto/labels';
import { equalInConstantTime, wipe } from '../../crypto/secret-bytes';
import { lengthPrefixed } from '../../encoding/length-prefixed';
import { KeyUnwrapError } from '../../errors';
import type { KeyBinding } from '../kms-provider';

/** One provider's wrapping of the data key. */
export interface Part {
  readonly label: string;
  readonly kek: string;
  readonly wrapped: Uint8Array;
}

/** A wrapped key, taken apart but not verified. */
export interface WrappedParts {
  readonly parts: readonly Part[];
  /** What the MAC covers. */
  readonly body: Uint8Array;
  readonly mac: Uint8Array;
}

/** First byte of what is stored. Never changes its meaning. */
const FORMAT_1 = 0x01;
const MAC_BYTES = 32;
const MAX_PARTS = 4;

/**
 * Writes `0x01 ‖ count(1) ‖ (label ‖ kek ‖ wrapped, each with length(2) in front) … ‖ MAC(32)`. The MAC
 * is keyed from the data key, so that a part cannot be changed, replaced or removed unnoticed while
 * another part still unwraps.
 */
export function serialize(
  parts: readonly Part[],
  key: Uint8Array,
  binding: KeyBinding,
): Uint8Array {
  const fields = parts.flatMap(({ label, kek, wrapped }) => [
    field(Buffer.from(label)),
    field(Buffer.from(kek)),
    field(wrapped),
  ]);
  const body = Buffer.concat([Uint8Array.of(FORMAT_1, parts.length), ...fields]);
  return Buffer.concat([body, macOf(body, key, binding)]);
}

/** @throws {@link KeyUnwrapError} for bytes that {@link serialize} did not write */
export function parse(wrapped: Uint8Array): WrappedParts {
  const bytes = Buffer.from(wrapped);
  const body = bytes.subarray(0, Math.max(0, bytes.length - MAC_BYTES));
  const count = body[1] ?? 0;
  if (body[0] !== FORMAT_1 || count < 1 || count > MAX_PARTS) throw malformed();
  const fields = readFields(body.subarray(2));
  if (fields.length !== count * 3) throw malformed();
  const parts = Array.from({ length: count }, (_, index) => {
    const [label, kek, part] = fields.slice(index * 3);
    if (label === undefined || kek === undefined || part === undefined) throw malformed();
    return { label: label.toString('utf8'), kek: kek.toString('utf8'), wrapped: part };
  });
  return { parts, body, mac: bytes.subarray(body.length) };
}

/** Whether the parts were made for this key, and none of them was changed. */
export function isIntact(
  { body, mac }: WrappedParts,
  key: Uint8Array,
  binding: KeyBinding,
): boolean {
  return equalInConstantTime(mac, macOf(body, key, binding));
}

function field(bytes: Uint8Array): Uint8Array {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

function readFields(bytes: Buffer): Buffer[] {
  const fields: Buffer[] = [];
  for (let at = 0; at < bytes.length;) {
    const start = at + 2;
    if (start > bytes.length) throw malformed();
    at = start + bytes.readUInt16BE(at);
    if (at > bytes.length) throw malformed();
    fields.push(bytes.subarray(start, at));
  }
  return fields;
}

function macOf(body: Uint8Array, key: Uint8Array, binding: KeyBinding): Uint8Array {
  const { application, keyId, keyName, purpose } = binding;
  const info = lengthPrefixed([LABELS.failoverMac]);
  const bytes = hkdfSha256({ key, info, bytes: MAC_BYTES });
  try {
    const message = lengthPrefixed([body, application, keyId, keyName, purpose]);
    return hmacSha256(hmacKey(bytes), message);
  } finally {
    wipe(bytes);
  }
}

function malformed(): KeyUnwrapError {
  return new KeyUnwrapError('failoverKms: the wrapped key is not of failoverKms, or is damaged.');
}

const MOST_KEYS = 1_000;

/** A record of which data keys lack the part of which provider, as far as this process has seen. */
export class PartlyWrapped {
  readonly #missing = new Map<string, readonly string[]>();

  /** Records the missing parts of a key, and returns whether that is news. */
  note(keyId: string, missing: readonly string[]): boolean {
    const known = this.#missing.get(keyId)?.join() ?? '';
    if (missing.length === 0) this.#missing.delete(keyId);
    else if (this.#missing.size < MOST_KEYS) this.#missing.set(keyId, missing);
    return missing.length > 0 && missing.join() !== known;
  }

  /** Describes them, such as `2 data keys not wrapped by aws`; empty if there are none. */
  describe(): string {
    const counts = new Map<string, number>();
    for (const label of [...this.#missing.values()].flat()) {
      counts.set(label, (counts.get(label) ?? 0) + 1);
    }
    return [...counts]
      .map(
        ([label, count]) =>
          `${String(count)} data key${count === 1 ? '' : 's'} not wrapped by ${label}`,
      )
      .join(', ');
  }
}
