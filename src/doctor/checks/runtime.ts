import { createCipheriv, createHash, getFips } from 'node:crypto';

import { LocalKmsProvider } from '../../kms/local/local-kms-provider';
import type { Installation } from '../../typeorm/installation/installation';
import { finding } from '../finding';
import type { Check, Finding } from '../finding';

import { ownManifest, isAtLeast } from './packages';

/** Checks Node.js, the FIPS mode of its OpenSSL, and what encrypts values. */
export const runtime: Check = (installation) => [
  ...node(process.versions.node),
  backend(installation.backend),
  ...fips(installation, getFips() === 1, refusesForeignAlgorithms()),
];

export function node(version: string): Finding[] {
  const wanted = ownManifest().engines.node;
  return isAtLeast(version, wanted.replace('>=', ''))
    ? [finding('NODE', `Node.js ${version}, OpenSSL ${process.versions.openssl}.`)]
    : [
        finding(
          'NODE_UNSUPPORTED',
          `Node.js is ${version}, wanted is ${wanted}.`,
          'Run the application with a newer Node.js.',
        ),
      ];
}

/** Reports the implementation of the AES suites and of tokens. */
export function backend({ absence }: Installation['backend']): Finding {
  if (absence === undefined) return finding('BACKEND', 'The native add-on encrypts values.');
  if (typeof absence === 'string') {
    return finding('BACKEND', `JavaScript encrypts values: the native add-on is ${absence}.`);
  }
  return finding(
    'NATIVE_UNUSABLE',
    `JavaScript encrypts values, since the native add-on cannot be used: ${absence.message}`,
    'Repair the add-on, or remove it where JavaScript is fast enough.',
  );
}

/**
 * Checks the FIPS mode.
 *
 * @param on - whether the mode is set, which proves nothing.
 * @param refused - whether OpenSSL refused algorithms that FIPS 140 does not approve.
 */
export function fips({ options }: Installation, on: boolean, refused: boolean): Finding[] {
  if (on && !refused) {
    return [
      finding(
        'FIPS_NOT_ENFORCED',
        'FIPS mode is set, and OpenSSL does not refuse MD5 and ChaCha20.',
        'Check that the FIPS provider of OpenSSL is installed and activated for this process.',
      ),
    ];
  }
  if (!refused) return [finding('FIPS_OFF', 'OpenSSL is not in FIPS mode: MD5 was not refused.')];
  return [
    finding('FIPS_ON', 'OpenSSL is in FIPS mode, as proved by MD5 and ChaCha20 being refused.'),
    ...notApproved(options),
  ];
}

function notApproved({ suite, kms }: Installation['options']): Finding[] {
  const used = [
    ...(suite === 'xchacha20-poly1305' || suite === 'aes-256-gcm-siv' ? [`suite ${suite}`] : []),
    ...(kms instanceof LocalKmsProvider && kms.hasPassphrase ? ['scrypt of a passphrase'] : []),
  ];
  if (used.length === 0) return [];
  return [
    finding(
      'FIPS_SUITE',
      `Not within the FIPS module: ${used.join(' and ')}.`,
      "Use suite: 'xaes-256-gcm', and a KMS or a key file instead of a passphrase.",
    ),
  ];
}

function refusesForeignAlgorithms(): boolean {
  return [
    () => createHash('md5').update('').digest(),
    () => createCipheriv('chacha20', Buffer.alloc(32), Buffer.alloc(16)).final(),
  ].every(isRefused);
}

function isRefused(operation: () => unknown): boolean {
  try {
    operation();
    return false;
  } catch {
    return true;
  }
}
