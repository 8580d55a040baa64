import { createHash } from 'node:crypto';
import { combine, split } from 'shamir-secret-sharing';

import { equalInConstantTime, wipe } from '../../crypto/secret-bytes';
import { decodeBase64url } from '../../encoding/base64url';
import { lengthPrefixed, readLengthPrefixed } from '../../encoding/length-prefixed';
import { ConfigurationError } from '../../errors';

/** The properties that all shares of one secret have in common. */
interface ShareSet {
  /** Random; shares of different sets do not mix. */
  readonly setId: string;
  readonly count: number;
  readonly threshold: number;
  /** Shows whether the combined secret is the right one: combining wrong shares gives another. */
  readonly checkValue: Uint8Array;
}

/** One share, as a custodian keeps it. */
interface Share extends ShareSet {
  /** From 1. */
  readonly index: number;
  readonly bytes: Uint8Array;
}

/** Begins every share, for people and programs to recognize it. */
const TEXT_PREFIX = 'tfe-share-1.';
const CHECKSUM_BYTES = 8;
const MAX_SHARES = 255;

/**
 * Splits a secret by Shamir's scheme into texts of which any `threshold` recover it:
 * `tfe-share-1. ‖ base64url(body ‖ SHA-256(body)[0..8])`, where the body is the length-prefixed list
 * of set id, count, threshold, index, check value and share.
 *
 * @throws {@link ConfigurationError} unless 2 to 255 shares, of which at least 2 are needed
 */
export async function splitIntoShares(
  secret: Uint8Array,
  set: ShareSet,
): Promise<readonly string[]> {
  const { count, threshold } = set;
  if (!arePossible({ count, threshold, index: 1 })) {
    throw new ConfigurationError(
      `got ${String(count)} shares of which ${String(threshold)} are needed; ` +
        `want 2 <= threshold <= shares <= ${String(MAX_SHARES)}.`,
    );
  }
  const shares = await split(Uint8Array.from(secret), count, threshold);
  return shares.map((bytes, at) => {
    const text = shareText({ ...set, index: at + 1, bytes });
    wipe(bytes);
    return text;
  });
}

/**
 * Combines shares of one set. The caller compares the result with the check value.
 *
 * @throws {@link ConfigurationError} for a damaged share, shares of another set, the same share
 * twice, and too few
 */
export async function combineShares(texts: readonly string[], setId: string): Promise<Uint8Array> {
  const shares = texts.map(parseShare);
  const stranger = shares.findIndex((share) => share.setId !== setId);
  if (stranger >= 0) {
    throw new ConfigurationError(
      `share number ${String(stranger + 1)} of those given belongs to another backup; want set ${setId}.`,
    );
  }
  const [first] = shares;
  if (first === undefined) {
    throw new ConfigurationError('no share was given. Ask the custodians for theirs.');
  }
  const odd = shares.findIndex((share) => !isOfOneSplit(share, first));
  if (odd >= 0) {
    throw new ConfigurationError(
      `share number ${String(odd + 1)} of those given was not made with the first one: it was changed or forged.`,
    );
  }
  const distinct = new Map(shares.map((share) => [share.index, share.bytes]));
  const { threshold } = first;
  if (distinct.size < threshold) {
    throw new ConfigurationError(
      `the backup takes ${String(threshold)} different shares, and ${String(distinct.size)} of them ` +
        `${distinct.size === 1 ? 'was' : 'were'} given. Ask other custodians for theirs.`,
    );
  }
  return combine([...distinct.values()].map((bytes) => Uint8Array.from(bytes))).catch(
    (error: unknown) => {
      throw new ConfigurationError('the shares do not go together: one was changed or forged.', {
        cause: error,
      });
    },
  );
}

/** Whether two shares agree. A checksum proves nothing: anyone can compute that of a forged share. */
function isOfOneSplit(share: Share, { count, threshold, checkValue, bytes }: Share): boolean {
  return (
    share.count === count &&
    share.threshold === threshold &&
    equalInConstantTime(share.checkValue, checkValue) &&
    share.bytes.length === bytes.length
  );
}

function shareText({ setId, count, threshold, index, checkValue, bytes }: Share): string {
  const body = lengthPrefixed([
    setId,
    String(count),
    String(threshold),
    String(index),
    checkValue,
    bytes,
  ]);
  return TEXT_PREFIX + Buffer.concat([body, checksumOf(body)]).toString('base64url');
}

function parseShare(text: string, at: number): Share {
  const trimmed = text.trim();
  const bytes = trimmed.startsWith(TEXT_PREFIX)
    ? decodeBase64url(trimmed.slice(TEXT_PREFIX.length))
    : undefined;
  const body = bytes?.subarray(0, -CHECKSUM_BYTES) ?? new Uint8Array();
  const isWhole =
    bytes !== undefined && equalInConstantTime(bytes.subarray(-CHECKSUM_BYTES), checksumOf(body));
  const parts = isWhole ? readLengthPrefixed(body) : undefined;
  const [setId, count, threshold, index, checkValue, share] = parts ?? [];
  if (checkValue === undefined || share === undefined) {
    throw new ConfigurationError(
      `share number ${String(at + 1)} of those given is incomplete or mistyped.`,
    );
  }
  const numbers = {
    count: Number(textOf(count)),
    threshold: Number(textOf(threshold)),
    index: Number(textOf(index)),
  };
  if (!arePossible(numbers)) {
    throw new ConfigurationError(
      `share number ${String(at + 1)} of those given is none that can have been made: it was changed or forged.`,
    );
  }
  return { setId: textOf(setId), ...numbers, checkValue, bytes: share };
}

function arePossible({
  count,
  threshold,
  index,
}: Pick<Share, 'count' | 'threshold' | 'index'>): boolean {
  const areWhole = [count, threshold, index].every((number) => Number.isInteger(number));
  return (
    areWhole &&
    threshold >= 2 &&
    threshold <= count &&
    count <= MAX_SHARES &&
    index >= 1 &&
    index <= count
  );
}

function checksumOf(body: Uint8Array): Buffer {
  return createHash('sha256').update(body).digest().subarray(0, CHECKSUM_BYTES);
}

function textOf(bytes: Uint8Array | undefined): string {
  return Buffer.from(bytes ?? []).toString('utf8');
}
