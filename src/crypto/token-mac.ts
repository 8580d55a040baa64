import type { KeyObject } from 'node:crypto';

import { encodeBase64url } from '../encoding/base64url';

import { hmacSha256, hmacSha256Base64url } from './hmac';
import { backendChoice } from './native';
import type { NativeToken } from './native';
import { wipe } from './secret-bytes';

/** Length of a token that is not truncated. */
export const FULL_TOKEN_BITS = 256;

/** Computes the token of a content. */
export type TokenMac = (content: string | Uint8Array) => string;

/** Returns the function for tokens: the first `bits` of `HMAC-SHA-256(key, typeTag ‖ content)` as base64url. */
export function tokenMac(key: KeyObject, typeTag: number, bits: number): TokenMac {
  const inJavaScript = javaScriptToken(key, typeTag, bits);
  const native = nativeToken(key, typeTag, bits);
  if (native === undefined) return inJavaScript;
  return (content) => native(content) ?? inJavaScript(content);
}

function nativeToken(key: KeyObject, typeTag: number, bits: number): NativeToken | undefined {
  const { native } = backendChoice();
  if (native === undefined) return undefined;
  const bytes = key.export();
  try {
    return native.tokens(bytes, typeTag, bits);
  } finally {
    wipe(bytes);
  }
}

function javaScriptToken(key: KeyObject, typeTag: number, bits: number): TokenMac {
  // Below 0x80, so that the character is the same single byte in UTF-8.
  const tag = String.fromCharCode(typeTag);
  const message = (content: string | Uint8Array): string | Uint8Array =>
    typeof content === 'string' ? tag + content : Buffer.concat([Buffer.of(typeTag), content]);
  return bits === FULL_TOKEN_BITS
    ? (content) => hmacSha256Base64url(key, message(content))
    : (content) => encodeBase64url(truncated(hmacSha256(key, message(content)), bits));
}

/** The first `bits` of a digest, with the unused low bits of the last byte zeroed. */
function truncated(digest: Buffer, bits: number): Buffer {
  const kept = digest.subarray(0, Math.ceil(bits / 8));
  const unused = kept.length * 8 - bits;
  const last = kept.length - 1;
  kept[last] = kept.readUInt8(last) & (0xff << unused);
  return kept;
}
