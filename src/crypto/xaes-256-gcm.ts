import { createCipheriv, createSecretKey } from 'node:crypto';
import type { Cipher, KeyObject } from 'node:crypto';

import type { SealedMessage } from '../encoding/sealed-message';

import { AEAD_TAG_BYTES, requireAeadKey } from './cipher-suite';
import type { NonceChoosingAead } from './cipher-suite';
import { openGcm, sealGcm } from './gcm';
import { fillRandom, RANDOM_NONCES } from './nonces';
import type { NonceMode, Nonces } from './nonces';
import { wipe } from './secret-bytes';

/**
 * A bounded map of the most recently used entries.
 *
 * It has two generations instead of an exact order: a hit in the younger one costs one look-up and moves
 * nothing. Holds at most twice `capacity` entries, and always the `capacity` used last.
 */
export class RecentMap<K, V> {
  readonly #capacity: number;
  #young = new Map<K, V>();
  #old = new Map<K, V>();

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  get(key: K): V | undefined {
    const young = this.#young.get(key);
    if (young !== undefined) return young;
    const old = this.#old.get(key);
    if (old !== undefined) this.set(key, old);
    return old;
  }

  set(key: K, value: V): void {
    if (this.#young.size >= this.#capacity && !this.#young.has(key)) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(key, value);
  }
}

const BLOCK_BYTES = 16;
const PREFIX_BYTES = 12;
const LABEL_X = 0x58;
/** The reduction of GF(2^128) in CMAC (SP 800-38B section 5.3). */
const REDUCTION = 0x87;
/** Each writer uses one prefix for up to 2^20 messages, so that a few hundred cover most tables. */
const CACHED_KEYS = 512;

/**
 * The derivation of message keys in XAES-256-GCM (C2SP): SP 800-108r1 in counter mode over CMAC, which for
 * these inputs comes down to two blocks of AES:
 *
 * `Kx = AES(K, M1 ⊕ K1) ‖ AES(K, M2 ⊕ K1)`, where `Mi = 0x00 ‖ i ‖ 'X' ‖ 0x00 ‖ nonce[0..12]` and
 * `K1` is the first CMAC subkey. Keeps the most recent keys.
 */
export class XaesKeyDerivation {
  /** One ECB context for the life of the key, for single blocks that never leave this class. */
  readonly #aes: Cipher;
  readonly #subkey: Buffer;
  readonly #keys = new RecentMap<string, KeyObject>(CACHED_KEYS);

  /** @throws RangeError if `key` is not 32 bytes long */
  constructor(key: Uint8Array) {
    requireAeadKey(key);
    this.#aes = createCipheriv('aes-256-ecb', createSecretKey(key), null).setAutoPadding(false);
    this.#subkey = doubled(this.#aes.update(Buffer.alloc(BLOCK_BYTES)));
  }

  /** Returns the message key for a nonce, of which only the first 12 bytes matter. */
  keyForNonce(nonce: Buffer): KeyObject {
    const prefix = nonce.toString('latin1', 0, PREFIX_BYTES);
    const known = this.#keys.get(prefix);
    if (known !== undefined) return known;
    const key = this.#derive(nonce);
    this.#keys.set(prefix, key);
    return key;
  }

  #derive(nonce: Buffer): KeyObject {
    const blocks = Buffer.alloc(2 * BLOCK_BYTES);
    for (const counter of [1, 2]) {
      const start = (counter - 1) * BLOCK_BYTES;
      blocks.set([0, counter, LABEL_X, 0], start);
      nonce.copy(blocks, start + BLOCK_BYTES - PREFIX_BYTES, 0, PREFIX_BYTES);
      xorInto(blocks, start, this.#subkey);
    }
    const keyBytes = this.#aes.update(blocks);
    const key = createSecretKey(keyBytes);
    wipe(keyBytes);
    return key;
  }
}

/** Multiplies a block by x in GF(2^128), most significant bit first. Changes and returns it. */
function doubled(block: Buffer): Buffer {
  let carry = 0;
  for (let index = block.length - 1; index >= 0; index -= 1) {
    const byte = block.readUInt8(index);
    block[index] = ((byte << 1) | carry) & 0xff;
    carry = byte >>> 7;
  }
  // Arithmetic rather than a branch: the carry is a bit of key material.
  block[block.length - 1] = block.readUInt8(block.length - 1) ^ (carry * REDUCTION);
  return block;
}

function xorInto(target: Buffer, start: number, mask: Buffer): void {
  for (const [index, byte] of mask.entries()) {
    target[start + index] = target.readUInt8(start + index) ^ byte;
  }
}

const NONCE_BYTES = 24;
const IV_BYTES = NONCE_BYTES - PREFIX_BYTES;
/**
 * Messages under one prefix, hence under one derived key with random 96-bit nonces: far below the
 * 2^32 of SP 800-38D section 8.3, for a chance of a repeated nonce of some 2^-57.
 */
const MESSAGES_PER_PREFIX = 2 ** 20;

/**
 * XAES-256-GCM (C2SP): AES-256-GCM with a 192-bit nonce.
 *
 * The key of a message depends only on the first 12 bytes of its nonce. A writer keeps 12 random bytes for
 * a bounded, exactly counted number of messages and draws the other 12 for each, so that it derives one key
 * for each prefix rather than for each message. The output is plain XAES.
 */
export class Xaes256Gcm implements NonceChoosingAead {
  readonly suite = 'xaes-256-gcm';
  readonly nonceBytes = NONCE_BYTES;
  readonly tagBytes = AEAD_TAG_BYTES;
  readonly #derivation: XaesKeyDerivation;
  readonly #prefix = Buffer.allocUnsafeSlow(PREFIX_BYTES);
  readonly #iv = Buffer.allocUnsafeSlow(IV_BYTES);
  readonly #nonces: Nonces;
  readonly #messagesPerPrefix: number;
  #messageKey: KeyObject | undefined;
  #messagesLeft = 0;

  /** @param messagesPerPrefix - lowered by tests only */
  constructor(
    key: Uint8Array,
    nonces: Nonces = RANDOM_NONCES,
    messagesPerPrefix = MESSAGES_PER_PREFIX,
  ) {
    this.#derivation = new XaesKeyDerivation(key);
    this.#nonces = nonces;
    this.#messagesPerPrefix = messagesPerPrefix;
  }

  get nonces(): NonceMode {
    return this.#nonces.mode;
  }

  seal(message: SealedMessage, associatedData: Uint8Array): void {
    const key = this.#nextMessageKey();
    this.#prefix.copy(message.nonce);
    this.#nonces.write(message, PREFIX_BYTES, associatedData);
    sealGcm(key, this.#ivOf(message), message, associatedData);
  }

  sealWithNonce(nonce: Uint8Array, message: SealedMessage, associatedData: Uint8Array): void {
    message.nonce.set(nonce);
    const key = this.#derivation.keyForNonce(message.nonce);
    sealGcm(key, this.#ivOf(message), message, associatedData);
  }

  open(message: SealedMessage, associatedData: Uint8Array): Buffer {
    const key = this.#derivation.keyForNonce(message.nonce);
    return openGcm(key, this.#ivOf(message), message, associatedData);
  }

  /** Returns the nonce of GCM, in a buffer that the next call overwrites. OpenSSL copies it. */
  #ivOf({ nonce }: SealedMessage): Uint8Array {
    nonce.copy(this.#iv, 0, PREFIX_BYTES);
    return this.#iv;
  }

  #nextMessageKey(): KeyObject {
    if (this.#messageKey === undefined || this.#messagesLeft === 0) {
      fillRandom(this.#prefix, 0, PREFIX_BYTES);
      this.#messageKey = this.#derivation.keyForNonce(this.#prefix);
      this.#messagesLeft = this.#messagesPerPrefix;
    }
    this.#messagesLeft -= 1;
    return this.#messageKey;
  }
}
