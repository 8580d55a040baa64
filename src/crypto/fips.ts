import { createCipheriv, createHash } from 'node:crypto';

import { ConfigurationError } from '../errors';

import { ed25519Key } from './ed25519';
import { openBytes, sealBytes } from './gcm';
import { hkdfSha256, hmacKey, hmacSha256 } from './hmac';
import { Xaes256Gcm } from './xaes-256-gcm';

/** The rules that a DataSource is put under. */
export type Profile = 'fips-140-3';

/** Whether a suite consists of what FIPS 140-3 approves, computed by OpenSSL. */
export function isApproved(suite: string): boolean {
  return ['xaes-256-gcm', 'hmac-sha-256', 'ed25519'].includes(suite);
}

const BYTES = Buffer.alloc(32, 1);

const UNAPPROVED = {
  MD5: () => createHash('md5').update(BYTES).digest(),
  ChaCha20: () => createCipheriv('chacha20', BYTES, BYTES.subarray(16)).final(),
};

const APPROVED = {
  'AES-256-GCM': () => {
    const aead = new Xaes256Gcm(BYTES);
    return openBytes(aead, sealBytes(aead, BYTES, BYTES), BYTES);
  },
  'HMAC-SHA-256': () => hmacSha256(hmacKey(BYTES), BYTES),
  'HKDF-SHA-256': () => hkdfSha256({ key: BYTES, info: BYTES, bytes: 32 }),
  Ed25519: () => ed25519Key(BYTES).sign(BYTES),
};

type ApprovedOperation = keyof typeof APPROVED;

/** What signing takes besides. */
export const FOR_SIGNATURES: readonly ApprovedOperation[] = ['Ed25519'];
const FOR_VALUES: readonly ApprovedOperation[] = ['AES-256-GCM', 'HMAC-SHA-256', 'HKDF-SHA-256'];

/** What makes up for a {@link fipsProblem}. */
export const ACTIVATE_FIPS =
  'Install the FIPS provider of OpenSSL, activate it in the configuration of OpenSSL for Node.js, and start with ' +
  '--force-fips. See docs/assurance.md, "FIPS 140-3".';

/**
 * Tries whether the OpenSSL of this process refuses what FIPS 140-3 does not approve, and does what is needed.
 * `getFips()` says only that the mode is set: without a provider, everything is refused then, and else nothing may be.
 *
 * @param needed - defaults to what values and keys need; `Ed25519`, which older modules lack, is for signatures alone
 * @returns the problem; undefined if there is none
 */
export function fipsProblem(needed = FOR_VALUES): string | undefined {
  const done = Object.entries(UNAPPROVED).filter(([, operation]) => works(operation));
  if (done.length > 0) return `OpenSSL does not refuse ${done.map(([name]) => name).join(' and ')}`;
  const refused = needed.filter((name) => !works(APPROVED[name]));
  return refused.length === 0 ? undefined : `OpenSSL refuses ${refused.join(', ')}`;
}

/**
 * Makes sure, where a profile is set, that {@link fipsProblem} finds none.
 *
 * @throws {@link ConfigurationError}
 */
export function requireFips(profile: Profile | undefined, needed = FOR_VALUES): void {
  const problem = profile && fipsProblem(needed);
  if (problem === undefined) return;
  throw new ConfigurationError(
    `profile '${String(profile)}' is not in force: ${problem}. ${ACTIVATE_FIPS}`,
  );
}

function works(operation: () => unknown): boolean {
  try {
    operation();
    return true;
  } catch {
    return false;
  }
}
