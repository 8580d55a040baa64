import {
  createCipheriv,
  createDecipheriv,
  createSecretKey,
  randomBytes,
  randomFillSync,
} from 'node:crypto';

import { LABELS } from '../src/crypto/labels';
import { loadSodium } from '../src/crypto/xchacha20-poly1305';
import { HEADER_BYTES } from '../src/format/data-key-id';

/** A cipher that encrypts text into text, as an encrypted column must, and does nothing else. */
export interface Floor {
  seal(text: string): string;
  open(stored: string): string;
}

const TAG_BYTES = 16;
const ASSOCIATED_DATA = Buffer.from(LABELS.fieldAssociatedData);

/** The fastest AES-256-GCM with node:crypto: a key object, pooled nonces, one allocation. */
export function tunedGcm(): Floor {
  const key = createSecretKey(randomBytes(32));
  const options = { authTagLength: TAG_BYTES };
  const nonces = noncePool(12);
  const body = HEADER_BYTES + 12;
  return {
    seal: (text) => {
      const out = Buffer.allocUnsafe(body + Buffer.byteLength(text) + TAG_BYTES);
      const nonce = nonces();
      const cipher = createCipheriv('aes-256-gcm', key, nonce, options).setAAD(ASSOCIATED_DATA);
      out.set(nonce, HEADER_BYTES);
      out.set(cipher.update(text, 'utf8'), body);
      cipher.final();
      out.set(cipher.getAuthTag(), out.length - TAG_BYTES);
      return out.toString('base64url');
    },
    open: (stored) => {
      const bytes = Buffer.from(stored, 'base64url');
      const nonce = bytes.subarray(HEADER_BYTES, body);
      const decipher = createDecipheriv('aes-256-gcm', key, nonce, options)
        .setAAD(ASSOCIATED_DATA)
        .setAuthTag(bytes.subarray(bytes.length - TAG_BYTES));
      const plain = decipher.update(bytes.subarray(body, bytes.length - TAG_BYTES));
      decipher.final();
      return plain.toString('utf8');
    },
  };
}

/** XChaCha20-Poly1305 with libsodium, in place; `undefined` if `sodium-native` is not installed. */
export function tunedSodium(): Floor | undefined {
  const sodium = loadSodium();
  if (sodium === undefined) return undefined;
  const key = sodium.sodium_malloc(32);
  randomFillSync(key);
  const nonces = noncePool(24);
  const body = HEADER_BYTES + 24;
  return {
    seal: (text) => {
      const bytes = Buffer.byteLength(text);
      const out = Buffer.allocUnsafe(body + bytes + TAG_BYTES);
      const nonce = nonces();
      out.set(nonce, HEADER_BYTES);
      out.write(text, body, 'utf8');
      sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(
        out.subarray(body),
        out.subarray(body, body + bytes),
        ASSOCIATED_DATA,
        null,
        nonce,
        key,
      );
      return out.toString('base64url');
    },
    open: (stored) => {
      const bytes = Buffer.from(stored, 'base64url');
      const plain = Buffer.allocUnsafe(bytes.length - body - TAG_BYTES);
      sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(
        plain,
        null,
        bytes.subarray(body),
        ASSOCIATED_DATA,
        bytes.subarray(HEADER_BYTES, body),
        key,
      );
      return plain.toString('utf8');
    },
  };
}

/** Returns random nonces, of which it draws 16 KiB at once. */
function noncePool(bytes: number): () => Buffer {
  const pool = Buffer.allocUnsafeSlow(16 * 1024);
  let at = pool.length;
  return () => {
    if (at + bytes > pool.length) {
      randomFillSync(pool);
      at = 0;
    }
    at += bytes;
    return pool.subarray(at - bytes, at);
  };
}
