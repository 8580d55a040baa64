import { wipe } from '../../crypto/secret-bytes';
import { isWellFormed } from '../../encoding/text';
import { ConfigurationError, FieldEncryptionError, KmsUnavailableError } from '../../errors';
import { codeSuffix } from '../remote/failures';

import type { ScryptParameters } from './scrypt-parameters';

/** The strength of a passphrase. */
export interface PassphraseExamination {
  /** Rough estimate of the bits that it takes to guess it, to detect weak ones. */
  readonly bits: number;
  readonly scrypt: ScryptParameters;
  /** Milliseconds that a derivation just took on this machine. */
  readonly derivationMs: number;
}

/** A word from a list of 7776, such as Diceware's. */
const WORD_BITS = 12.9;
const LETTER_BITS = Math.log2(26);
const MIXED_LETTER_BITS = Math.log2(52);
const DIGIT_BITS = Math.log2(10);
const OTHER_BITS = 5;
/** A character that repeats or continues the one before, as in `aaa` or `1234`. */
const FOLLOWING_BITS = 1;

/**
 * Estimates the bits that it takes to guess a passphrase by trying words, names, numbers and sequences
 * first. Runs of letters in one case, or capitalized, count as words; repetitions count once.
 */
export function estimatedBits(passphrase: string): number {
  const period = repeatedPart(passphrase);
  const parts = period.match(/\p{L}+|\p{N}+|[^\p{L}\p{N}]/gu) ?? [];
  const distinct = [...new Set(parts)];
  const repeated = Math.log2(passphrase.length / period.length) + (parts.length - distinct.length);
  return distinct.reduce((sum, part) => sum + bitsOf(part), repeated);
}

function bitsOf(part: string): number {
  if (/^\p{N}/u.test(part)) return bitsEach(part, DIGIT_BITS);
  if (!/^\p{L}/u.test(part)) return OTHER_BITS;
  const isWord = /^(\p{Lu}?\p{Ll}+|\p{Lu}+)$/u.test(part);
  if (!isWord) return bitsEach(part, MIXED_LETTER_BITS);
  // A run of letters may be several words without spaces.
  const words = Math.max(1, Math.round(part.length / 6));
  return Math.min(bitsEach(part, LETTER_BITS), words * WORD_BITS);
}

function bitsEach(part: string, bits: number): number {
  const codes = Array.from(part, (character) => character.codePointAt(0) ?? 0);
  return codes.reduce((sum, code, i) => {
    const before = codes[i - 1];
    const follows = before !== undefined && Math.abs(code - before) <= 1;
    return sum + (follows ? FOLLOWING_BITS : bits);
  }, 0);
}

/** Returns the shortest part whose repetition gives the text. */
function repeatedPart(text: string): string {
  for (let length = 1; length <= text.length / 2; length += 1) {
    const part = text.slice(0, length);
    if (text.length % length === 0 && part.repeat(text.length / length) === text) return part;
  }
  return text;
}

const MIN_CHARACTERS = 12;

/**
 * A passphrase, or a function that is called whenever a key-encryption key has to be derived:
 * usually once, and again after {@link KmsProvider.close}.
 */
export type Passphrase = string | (() => string | undefined | Promise<string | undefined>);

/**
 * Runs `use` with the passphrase as NFC-normalized UTF-8, which is wiped afterwards. Systems compose the
 * same text differently; NFC makes it the same bytes.
 *
 * @throws {@link ConfigurationError} for a missing or too short passphrase
 */
export async function withPassphrase<T>(
  passphrase: Passphrase,
  use: (bytes: Uint8Array) => Promise<T>,
): Promise<T> {
  const text = requireStrong(typeof passphrase === 'string' ? passphrase : await ask(passphrase));
  const pooled = Buffer.from(text, 'utf8');
  // Not from Node's shared pool, whose memory other buffers can see.
  const bytes = Buffer.allocUnsafeSlow(pooled.length);
  bytes.set(pooled);
  wipe(pooled);
  try {
    return await use(bytes);
  } finally {
    wipe(bytes);
  }
}

/**
 * Checks and normalizes a passphrase.
 *
 * @throws {@link ConfigurationError}
 */
export function requireStrong(passphrase: unknown): string {
  if (typeof passphrase !== 'string' || passphrase === '') {
    throw new ConfigurationError(
      'localKms: there is no passphrase. Is the environment variable or secret that holds it set?',
    );
  }
  if (!isWellFormed(passphrase)) {
    throw new ConfigurationError('localKms: the passphrase is not valid Unicode text.');
  }
  const normalized = passphrase.normalize('NFC');
  if (Array.from(normalized).length >= MIN_CHARACTERS) return normalized;
  throw new ConfigurationError(
    `localKms: the passphrase has fewer than ${String(MIN_CHARACTERS)} characters. ` +
      'Use a generated one, such as the output of `openssl rand -base64 24`.',
  );
}

async function ask(passphrase: Exclude<Passphrase, string>): Promise<string | undefined> {
  try {
    return await passphrase();
  } catch (error) {
    if (error instanceof FieldEncryptionError) throw error;
    // Without the cause, which comes from the application and may contain the passphrase.
    throw new KmsUnavailableError(`localKms: the passphrase function failed${codeSuffix(error)}.`);
  }
}
