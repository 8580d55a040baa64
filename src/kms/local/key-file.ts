import { createSecretKey } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { open } from 'node:fs/promises';
import { resolve } from 'node:path';

import { hkdfSha256 } from '../../crypto/hmac';
import { LABELS } from '../../crypto/labels';
import { wipe } from '../../crypto/secret-bytes';
import { lengthPrefixed } from '../../encoding/length-prefixed';
import { ConfigurationError } from '../../errors';
import type { KmsHealth } from '../kms-provider';

import type { KekForUnwrapping, KekForWrapping, LocalKek } from './local-kms-provider';
import { keyFileHeader, parseUnderKeyFile } from './wrapped-form';

const KEY_BYTES = 32;
/** More than a key in hexadecimal or base64 with a line end. */
const MAX_FILE_BYTES = 128;
const READABLE_BY_OTHERS = 0o077;

const BASE64_ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';

/**
 * Reads the 32 bytes of a key file, raw, or as 64 hexadecimal digits or 44 characters of base64, with or
 * without a line end. The caller wipes them.
 *
 * @throws {@link ConfigurationError} for a file that is missing, readable by others than its owner,
 * or not a key
 */
async function readKeyFile(path: string): Promise<Uint8Array> {
  const content = await readPrivateFile(path);
  try {
    const key = parseKey(content);
    if (key !== undefined) return key;
  } finally {
    wipe(content);
  }
  throw new ConfigurationError(
    `key file ${path}: want 32 random bytes, raw or as 64 hexadecimal digits or base64. ` +
      'Make one with `openssl rand -base64 32`.',
  );
}

async function readPrivateFile(path: string): Promise<Buffer> {
  const file = await open(path, 'r').catch((error: unknown) => {
    throw unreadable(path, error);
  });
  try {
    // Of the open file, not of the path, which may come to name another file before it is read.
    const { mode, size } = await file.stat();
    requirePrivate(path, mode);
    if (size > MAX_FILE_BYTES)
      throw new ConfigurationError(`key file ${path} is too long for a key`);
    const content = Buffer.alloc(MAX_FILE_BYTES);
    const { bytesRead } = await file.read(content, 0, MAX_FILE_BYTES, 0);
    return content.subarray(0, bytesRead);
  } catch (error) {
    throw error instanceof ConfigurationError ? error : unreadable(path, error);
  } finally {
    await file.close();
  }
}

function requirePrivate(path: string, mode: number): void {
  // Windows has no such bits; Node makes them up.
  if (process.platform === 'win32' || (mode & READABLE_BY_OTHERS) === 0) return;
  throw new ConfigurationError(
    `key file ${path} is open to others than its owner (mode ${(mode & 0o777).toString(8)}). ` +
      `Run: chmod 600 ${path}`,
  );
}

function unreadable(path: string, cause: unknown): ConfigurationError {
  return new ConfigurationError(`key file ${path} cannot be read; see the cause`, { cause });
}

/** Parses bytes, not a string, which could not be wiped. */
function parseKey(content: Uint8Array): Uint8Array | undefined {
  if (content.length === KEY_BYTES) return Uint8Array.from(content);
  const text = withoutLineEnd(content);
  if (text.length === 2 * KEY_BYTES) return decode(text, 16, hexDigit);
  if (text.length === 44 && text[43] === 0x3d) return decode(text.subarray(0, 43), 64, base64Digit);
  return undefined;
}

function withoutLineEnd(content: Uint8Array): Uint8Array {
  let end = content.length;
  while (end > 0 && (content[end - 1] === 0x0a || content[end - 1] === 0x0d)) end -= 1;
  return content.subarray(0, end);
}

/** Reads 256 bits from digits of a power of two; undefined for an invalid digit or set bits left over. */
function decode(
  text: Uint8Array,
  base: number,
  digitOf: (character: number) => number,
): Uint8Array | undefined {
  const key = new Uint8Array(KEY_BYTES);
  const bitsPerDigit = Math.log2(base);
  let pending = 0;
  let bits = 0;
  let written = 0;
  for (const character of text) {
    const digit = digitOf(character);
    if (digit < 0) return undefined;
    pending = pending * base + digit;
    bits += bitsPerDigit;
    if (bits < 8) continue;
    bits -= 8;
    key[written] = pending >> bits;
    pending &= (1 << bits) - 1;
    written += 1;
  }
  return written === KEY_BYTES && pending === 0 ? key : undefined;
}

function hexDigit(character: number): number {
  return '0123456789abcdef'.indexOf(String.fromCharCode(character).toLowerCase());
}

function base64Digit(character: number): number {
  return BASE64_ALPHABET.indexOf(String.fromCharCode(character));
}

const CHECK_VALUE_BYTES = 4;

/** A KEK that is the content of a file, read when it is first needed. */
export class KeyFileKek implements LocalKek {
  readonly #path: string;
  #kek: Promise<KeyObject> | undefined;

  constructor(path: string) {
    this.#path = resolve(path);
  }

  async forWrapping(): Promise<KekForWrapping> {
    const kek = await this.#read();
    return { kek, header: keyFileHeader(), name: `key-file:${checkValue(kek)}` };
  }

  async forUnwrapping(wrapped: Uint8Array): Promise<KekForUnwrapping> {
    const { headerBytes, sealed } = parseUnderKeyFile(wrapped);
    const kek = await this.#read();
    const report = (opened: boolean): void => {
      // The file may be corrected by the next time.
      if (!opened) this.forget();
    };
    return { kek, header: headerBytes, sealed, report };
  }

  async health(): Promise<KmsHealth> {
    const kek = await this.#read();
    const detail = `key file ${this.#path}, check value ${checkValue(kek)}`;
    return {
      ok: true,
      detail,
      reachable: true,
      authenticated: true,
      mayWrap: true,
      mayUnwrap: true,
    };
  }

  forget(): void {
    this.#kek = undefined;
  }

  #read(): Promise<KeyObject> {
    this.#kek ??= readKek(this.#path).catch((error: unknown) => {
      this.forget();
      throw error;
    });
    return this.#kek;
  }
}

async function readKek(path: string): Promise<KeyObject> {
  const bytes = await readKeyFile(path);
  try {
    return createSecretKey(bytes);
  } finally {
    wipe(bytes);
  }
}

/** Tells key files apart in the key table. 32 derived bits reveal nothing of a key of 256 random ones. */
function checkValue(kek: KeyObject): string {
  const info = lengthPrefixed([LABELS.keyCheckValue]);
  return hkdfSha256({ key: kek, info, bytes: CHECK_VALUE_BYTES }).toString('hex');
}
