import { randomFillSync } from 'node:crypto';
import type { KeyObject } from 'node:crypto';

import { lengthPrefixed } from '../encoding/length-prefixed';
import type { SealedMessage } from '../encoding/sealed-message';

import { hkdfSha256, hmacKey, hmacSha256 } from './hmac';
import { LABELS } from './labels';
import { wipe } from './secret-bytes';

/** Small, so that little is lost, or repeated, if a machine is copied while it runs. */
const POOL_BYTES = 16 * 1024;

const pool = Buffer.allocUnsafeSlow(POOL_BYTES);
let used = POOL_BYTES;

/**
 * Writes up to 16 KiB of random bytes to `target`.
 *
 * They come from a pool that one system call fills: some 30 times as fast as a `randomBytes` for
 * each nonce. Each byte is handed out once. For nonces and ids only; keys are drawn directly from
 * the system, since used bytes stay in the pool until it is filled again.
 *
 * @throws whatever the system's generator throws; there is no other source to fall back to
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
 * How nonces come about: `'random'` as they are drawn, `'hedged'` derived from what was drawn and
 * from the message, so that a generator which repeats itself repeats no nonce.
 */
export type NonceMode = 'random' | 'hedged';

/** The source of the nonces under one key. */
export interface Nonces {
  readonly mode: NonceMode;
  /** Writes the nonce of a message whose plaintext is in its place, and keeps the bytes before `start`. */
  write(message: SealedMessage, start: number, associatedData: Uint8Array): void;
}

/** Makes the source for a key of 32 bytes, which the caller wipes. */
export function noncesFor(mode: NonceMode, key: Uint8Array): Nonces {
  return mode === 'hedged' ? new HedgedNonces(key) : RANDOM_NONCES;
}

/** Nonces as they are drawn: unique for as long as the system's generator does not repeat itself. */
export const RANDOM_NONCES: Nonces = Object.freeze({
  mode: 'random',
  write: ({ nonce }: SealedMessage, start: number): void => {
    fillRandom(nonce, start, nonce.length - start);
  },
});

/**
 * Nonces that differ wherever the messages differ, whatever the generator gives: the copies of a
 * process image go on with the same random bytes. Each is the beginning of
 * `HMAC(HMAC(K', associated data), random nonce ‖ plaintext)`, `K'` being derived from the key: to
 * others as good as random, and repeated only by the same message under the same random bytes, which
 * shows that the two are equal and nothing else.
 */
export class HedgedNonces implements Nonces {
  readonly mode = 'hedged';
  readonly #key: KeyObject;
  /** By associated data, which is the same array for all values of a field and is never changed. */
  readonly #keys = new WeakMap<Uint8Array, KeyObject>();

  /** Copies what it needs; the caller wipes `key`. */
  constructor(key: Uint8Array) {
    this.#key = keyOf(hedgingKey(key));
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
    const key = keyOf(hmacSha256(this.#key, associatedData));
    this.#keys.set(associatedData, key);
    return key;
  }
}

/** `K'`, derived from the key of an AEAD. The caller wipes it. */
export function hedgingKey(key: Uint8Array): Buffer {
  return hkdfSha256({ key, info: lengthPrefixed([LABELS.nonce]), bytes: 32 });
}

function keyOf(bytes: Buffer): KeyObject {
  const key = hmacKey(bytes);
  wipe(bytes);
  return key;
}
