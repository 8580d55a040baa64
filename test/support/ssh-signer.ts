import { createHash, generateKeyPairSync, sign } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import type { ApprovalPolicy } from '../../src';

/** Returns a field of an SSH message. */
export function field(content: Uint8Array | string): Buffer {
  const bytes = Buffer.from(content);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

/** A person with an ed25519 key, who signs as `ssh-keygen -Y sign` does. */
export class SshSigner {
  readonly #blob: Buffer;
  readonly #key: KeyObject;
  readonly id: string;

  constructor(id: string) {
    const { publicKey, privateKey } = generateKeyPairSync('ed25519');
    const { x = '' } = publicKey.export({ format: 'jwk' });
    this.id = id;
    this.#key = privateKey;
    this.#blob = Buffer.concat([field('ssh-ed25519'), field(Buffer.from(x, 'base64url'))]);
  }

  /** The line of the public key file. */
  get line(): string {
    return `ssh-ed25519 ${this.#blob.toString('base64')} ${this.id}@laptop`;
  }

  /** Signs a text; a namespace of its own is for signatures that must not count. */
  sign(text: string, namespace = 'typeorm-field-encryption'): string {
    const digest = createHash('sha512').update(text).digest();
    const about = [field(namespace), field(''), field('sha512')];
    const message = Buffer.concat([Buffer.from('SSHSIG'), ...about, field(digest)]);
    const signature = Buffer.concat([field('ssh-ed25519'), field(sign(null, message, this.#key))]);
    const version = Buffer.from([0, 0, 0, 1]);
    const blob = [Buffer.from('SSHSIG'), version, field(this.#blob), ...about, field(signature)];
    const lines = Buffer.concat(blob)
      .toString('base64')
      .replace(/(.{70})/g, '$1\n');
    return `-----BEGIN SSH SIGNATURE-----\n${lines}\n-----END SSH SIGNATURE-----\n`;
  }
}

/** Returns a policy of some people, of whom one has to approve. */
export function approvalPolicy(
  persons: readonly SshSigner[],
  operations: ApprovalPolicy['operations'],
): ApprovalPolicy {
  const approvers = persons.map(({ id, line }) => ({ id, key: line }));
  return { operations, required: 1, approvers };
}
