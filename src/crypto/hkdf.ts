import type { KeyObject } from 'node:crypto';
import { hkdfSync } from 'node:crypto';

const NO_SALT = new Uint8Array(0);

/** Where derived bytes come from and what they are for. */
export interface HkdfParameters {
  /** The input keying material. */
  readonly key: KeyObject | Uint8Array;
  /** Tells derived keys apart; begins with a label, see `labels.ts`. */
  readonly info: Uint8Array;
  /** Length of the result in bytes, at most 8160. */
  readonly bytes: number;
  /** Defaults to none, which is right for keys that are uniformly random. */
  readonly salt?: Uint8Array;
}

/** Derives bytes with HKDF-SHA-256 (RFC 5869). The caller owns and wipes the result. */
export function hkdfSha256({ key, info, bytes, salt = NO_SALT }: HkdfParameters): Buffer {
  return Buffer.from(hkdfSync('sha256', key, salt, info, bytes));
}
