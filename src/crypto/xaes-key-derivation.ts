import type { Cipher, KeyObject } from 'node:crypto';
import { createCipheriv, createSecretKey } from 'node:crypto';

import { requireAeadKey } from './cipher-suite';
import { RecentMap } from './recent-map';
import { wipe } from './wipe';

const BLOCK_BYTES = 16;
const PREFIX_BYTES = 12;
const LABEL_X = 0x58;
/** The reduction of GF(2^128) in CMAC (SP 800-38B section 5.3). */
const REDUCTION = 0x87;
/** Each writer uses one prefix for up to 2^20 messages, so a few hundred cover most tables. */
const CACHED_KEYS = 512;

/**
 * Derives the message keys of XAES-256-GCM (C2SP): SP 800-108r1 in counter mode over CMAC, which
 * for these inputs comes down to two blocks of AES:
 *
 * `Kx = AES(K, M1 ⊕ K1) ‖ AES(K, M2 ⊕ K1)`, where `Mi = 0x00 ‖ i ‖ 'X' ‖ 0x00 ‖ nonce[0..12]` and
 * `K1` is the first CMAC subkey. Keeps the most recent keys.
 */
export class XaesKeyDerivation {
  /** One ECB context for the life of the key: single blocks only, and none of them ever leaves. */
  readonly #aes: Cipher;
  readonly #subkey: Buffer;
  readonly #keys = new RecentMap<string, KeyObject>(CACHED_KEYS);

  /** @throws RangeError when `key` is not 32 bytes long */
  constructor(key: Uint8Array) {
    requireAeadKey(key);
    this.#aes = createCipheriv('aes-256-ecb', createSecretKey(key), null).setAutoPadding(false);
    this.#subkey = doubled(this.#aes.update(Buffer.alloc(BLOCK_BYTES)));
  }

  /** The message key for a nonce, of which only the first 12 bytes matter. */
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
