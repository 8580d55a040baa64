import { randomFillSync } from 'node:crypto';
import type { KeyObject } from 'node:crypto';

import { lengthPrefixed } from '../encoding/length-prefixed';
import type { SealedMessage } from '../encoding/sealed-message';

import { deriveHmacKey, hkdfSha256, hmacKey, hmacSha256 } from './hmac';
import { LABELS } from './labels';
import { wipe } from './secret-bytes';

/** Small, so that few bytes are repeated if a running machine is copied. */
const POOL_BYTES = 16 * 1024;

const pool = Buffer.allocUnsafeSlow(POOL_BYTES);
let used = POOL_BYTES;

/**
 * Writes up to 16 KiB of random bytes to `target`.
 *
 * They come from a pool that one system call fills, some 30 times as fast as a `randomBytes` for each
 * nonce. Each byte is used once. For nonces and ids only: keys are drawn directly from the system, since
 * used bytes stay in the pool until it is filled again.
 *
 * @throws whatever the system's generator throws; there is no fallback
 */
export function fillRandom(target: Uint8Array, offset: number, bytes: number): void {
  if (used + bytes > POOL_BYTES) refill();
  pool.copy(target, offset, used, used + bytes);
  used += bytes;
}

function refill(): void {
  randomFillSync(pool);
  used = 0;
}

/**
 * The mode of nonces: `'random'` as drawn, `'hedged'` derived from random bytes and the message, so that a
 * generator that repeats itself repeats no nonce.
 */
export type NonceMode = 'random' | 'hedged';

const NONCE_INFO = lengthPrefixed([LABELS.nonce]);

/** The source of the nonces under one key. */
export interface Nonces {
  readonly mode: NonceMode;
  /** Writes the nonce of a message that holds its plaintext, from `start` on. */
  write(message: SealedMessage, start: number, associatedData: Uint8Array): void;
}

/** Returns the source for a key of 32 bytes, which the caller wipes. */
export function noncesFor(mode: NonceMode, key: Uint8Array): Nonces {
  return mode === 'hedged' ? new HedgedNonces(key) : RANDOM_NONCES;
}

/** Nonces as drawn: unique as long as the system's generator does not repeat itself. */
export const RANDOM_NONCES: Nonces = Object.freeze({
  mode: 'random',
  write: ({ nonce }: SealedMessage, start: number): void => {
    fillRandom(nonce, start, nonce.length - start);
  },
});

/**
 * Nonces that differ whenever the messages differ, whatever the generator returns: copies of a process
 * image go on with the same random bytes. Each is the beginning of
 * `HMAC(HMAC(K', associated data), random nonce ‖ plaintext)`, with `K'` derived from the key. To others it
 * is as good as random, and only the same message under the same random bytes repeats it, which shows that
 * the two are equal and nothing else.
 */
export class HedgedNonces implements Nonces {
  readonly mode = 'hedged';
  readonly #key: KeyObject;
  /** By associated data: the same array, never changed, for all values of a field. */
  readonly #keys = new WeakMap<Uint8Array, KeyObject>();

  /** Copies what it needs; the caller wipes `key`. */
  constructor(key: Uint8Array) {
    this.#key = deriveHmacKey(key, NONCE_INFO);
  }

  write(message: SealedMessage, start: number, associatedData: Uint8Array): void {
    const { nonce } = message;
    RANDOM_NONCES.write(message, start, associatedData);
    const mac = hmacSha256(this.#keyFor(associatedData), message.nonceAndPlaintext);
    mac.copy(nonce, start);
  }

  #keyFor(associatedData: Uint8Array): KeyObject {
    const known = this.#keys.get(associatedData);
    if (known !== undefined) return known;
    const bytes = hmacSha256(this.#key, associatedData);
    const key = hmacKey(bytes);
    wipe(bytes);
    this.#keys.set(associatedData, key);
    return key;
  }
}

/** Derives `K'` from the key of an AEAD. The caller wipes it. */
export function hedgingKey(key: Uint8Array): Buffer {
  return hkdfSha256({ key, info: NONCE_INFO, bytes: 32 });
}
