import { createHash, verify } from 'node:crypto';

import { decodeBase64 } from '../../encoding/base64url';

import { readPublicKey } from './ssh-public-key';
import { SshReader, sshString } from './ssh-reader';

/** The namespace (`ssh-keygen -Y sign -n`), so that no signature for another use counts here. */
export const NAMESPACE = 'typeorm-field-encryption';

/** A signature, and the key that it says it is by. */
export interface SshSignature {
  /** The public key, as {@link readPublicKeyLine} returns it. */
  readonly signedBy: Buffer;
  readonly holds: (message: string) => boolean;
}

/** How the signatures of an algorithm are verified. */
interface Algorithm {
  /** Type of the keys. */
  readonly key: string;
  readonly hash: 'sha256' | 'sha384' | 'sha512' | null;
  /** Bytes of each of the two numbers of an ECDSA signature. */
  readonly numberBytes?: number;
}

const ALGORITHMS: Readonly<Record<string, Algorithm>> = {
  'ssh-ed25519': { key: 'ssh-ed25519', hash: null },
  'ecdsa-sha2-nistp256': { key: 'ecdsa-sha2-nistp256', hash: 'sha256', numberBytes: 32 },
  'ecdsa-sha2-nistp384': { key: 'ecdsa-sha2-nistp384', hash: 'sha384', numberBytes: 48 },
  'ecdsa-sha2-nistp521': { key: 'ecdsa-sha2-nistp521', hash: 'sha512', numberBytes: 66 },
  'rsa-sha2-256': { key: 'ssh-rsa', hash: 'sha256' },
  'rsa-sha2-512': { key: 'ssh-rsa', hash: 'sha512' },
};

const MAGIC = 'SSHSIG';
const MAX_SIGNATURE_CHARS = 8_192;
const ARMOR =
  /^-----BEGIN SSH SIGNATURE-----\r?\n([A-Za-z0-9+/=\r\n]+)-----END SSH SIGNATURE-----\s*$/;

/**
 * Reads a signature as `ssh-keygen -Y sign` writes it (PROTOCOL.sshsig of OpenSSH).
 *
 * @throws RangeError that says what is wrong with it
 */
export function readSignature(armored: string): SshSignature {
  const [, lines = ''] = armored.length <= MAX_SIGNATURE_CHARS ? (ARMOR.exec(armored) ?? []) : [];
  const blob = decodeBase64(lines.replace(/[\r\n]/g, ''));
  if (blob === undefined || blob.length === 0) throw new RangeError('it is no SSH signature');
  const reader = new SshReader(blob);
  if (reader.bytes(MAGIC.length).toString('latin1') !== MAGIC || reader.uint32() !== 1) {
    throw new RangeError('it is no SSH signature of version 1');
  }
  const signedBy = reader.string();
  if (reader.text() !== NAMESPACE) throw new RangeError(`its namespace is not ${NAMESPACE}`);
  const reserved = reader.string();
  const hash = reader.text();
  if (hash !== 'sha256' && hash !== 'sha512') throw new RangeError('its hash is unknown');
  const signature = reader.string();
  reader.end();
  const signedBytes = (message: string): Buffer =>
    Buffer.concat([
      Buffer.from(MAGIC),
      ...[NAMESPACE, reserved, hash, createHash(hash).update(message).digest()].map(sshString),
    ]);
  const isOver = verifier(signedBy, signature);
  return { signedBy, holds: (message) => isOver(signedBytes(message)) };
}

function verifier(signedBy: Buffer, signature: Buffer): (data: Buffer) => boolean {
  const { type, key } = readPublicKey(signedBy);
  const reader = new SshReader(signature);
  const name = reader.text();
  const algorithm = Object.hasOwn(ALGORITHMS, name) ? ALGORITHMS[name] : undefined;
  if (algorithm?.key !== type) throw new RangeError('its algorithm is unknown, or not of its key');
  const content = reader.string();
  reader.end();
  const { hash, numberBytes } = algorithm;
  const bytes = numberBytes === undefined ? content : numbersOf(content, numberBytes);
  return (data) => verify(hash, data, { key, dsaEncoding: 'ieee-p1363' }, bytes);
}

/** Returns the two numbers of an ECDSA signature, each in as many bytes. */
function numbersOf(content: Buffer, size: number): Buffer {
  const reader = new SshReader(content);
  const numbers = [reader.positive(), reader.positive()];
  reader.end();
  if (numbers.some((number) => number.length > size)) throw new RangeError('it is malformed');
  return Buffer.concat(numbers.flatMap((number) => [Buffer.alloc(size - number.length), number]));
}
