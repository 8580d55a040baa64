import { createPublicKey } from 'node:crypto';
import type { JsonWebKey, KeyObject } from 'node:crypto';

import { isSmallOrderPoint } from '../../crypto/ed25519';
import { decodeBase64 } from '../../encoding/base64url';

import { SshReader } from './ssh-reader';

/** A public key of OpenSSH. */
export interface SshPublicKey {
  /** Such as `ssh-ed25519`. */
  readonly type: string;
  readonly key: KeyObject;
}

const MAX_LINE_CHARS = 8_192;
const LEAST_RSA_BITS = 2_048;
const MOST_RSA_BITS = 16_384;
/** FIPS 186-5, section 5.1: a small exponent lets signatures be made up. */
const LEAST_RSA_EXPONENT = 65_537n;

/** Reads the fields that follow the type. */
type ReadFields = (reader: SshReader) => JsonWebKey;

const FIELDS: Readonly<Record<string, ReadFields>> = {
  'ssh-ed25519': (reader) => ({
    kty: 'OKP',
    crv: 'Ed25519',
    x: base64url(strongPoint(reader.string())),
  }),
  'ecdsa-sha2-nistp256': pointOf('nistp256', 'P-256', 32),
  'ecdsa-sha2-nistp384': pointOf('nistp384', 'P-384', 48),
  'ecdsa-sha2-nistp521': pointOf('nistp521', 'P-521', 66),
  'ssh-rsa': (reader) => {
    const [e, n] = [reader.positive(), reader.positive()];
    const exponent = BigInt(`0x${e.toString('hex')}`);
    const areOdd = [e, n].every((number) => (number.at(-1) ?? 0) % 2 === 1);
    if (exponent < LEAST_RSA_EXPONENT || !areOdd) throw new RangeError('its numbers are weak');
    return { kty: 'RSA', e: base64url(e), n: base64url(n) };
  },
};

/**
 * Returns the key in a line of a public key file, such as `ssh-ed25519 AAAA… ada@clinic`, as its bytes.
 *
 * @throws RangeError that says what is wrong with it
 */
export function readPublicKeyLine(line: string): Buffer {
  const [type = '', encoded = ''] = line.trim().split(/\s+/, 2);
  const blob = line.length <= MAX_LINE_CHARS ? decodeBase64(encoded) : undefined;
  if (blob === undefined || blob.length === 0 || /\n/.test(line.trim())) {
    throw new RangeError("it is no line such as 'ssh-ed25519 AAAA… ada@clinic'");
  }
  if (readPublicKey(blob).type !== type) throw new RangeError('it names another type than it has');
  return blob;
}

/** @throws RangeError for a key that is malformed, too weak, or of a type that cannot be verified here */
export function readPublicKey(blob: Buffer): SshPublicKey {
  const reader = new SshReader(blob);
  const type = reader.text();
  if (type.startsWith('sk-')) throw new RangeError('keys on FIDO tokens (sk-…) are not supported');
  const read = Object.hasOwn(FIELDS, type) ? FIELDS[type] : undefined;
  if (read === undefined) throw new RangeError('it is no ed25519, ecdsa or rsa key');
  const jwk = read(reader);
  reader.end();
  const key = keyObjectOf(jwk);
  const { modulusLength = LEAST_RSA_BITS } = key.asymmetricKeyDetails ?? {};
  if (modulusLength < LEAST_RSA_BITS || modulusLength > MOST_RSA_BITS) {
    throw new RangeError(
      `an rsa key has ${String(LEAST_RSA_BITS)} to ${String(MOST_RSA_BITS)} bits`,
    );
  }
  return { type, key };
}

function keyObjectOf(key: JsonWebKey): KeyObject {
  try {
    return createPublicKey({ key, format: 'jwk' });
  } catch {
    throw new RangeError('it is malformed');
  }
}

function strongPoint(point: Buffer): Buffer {
  if (isSmallOrderPoint(point)) throw new RangeError('its point is of small order');
  return point;
}

function pointOf(curve: string, crv: string, size: number): ReadFields {
  return (reader) => {
    const isOfCurve = reader.text() === curve;
    const point = reader.string();
    if (!isOfCurve || point.length !== 1 + 2 * size || point[0] !== 4) {
      throw new RangeError('its point is malformed');
    }
    const [x, y] = [point.subarray(1, 1 + size), point.subarray(1 + size)].map(base64url);
    return { kty: 'EC', crv, ...(x === undefined ? {} : { x }), ...(y === undefined ? {} : { y }) };
  };
}

function base64url(bytes: Buffer): string {
  return bytes.toString('base64url');
}
