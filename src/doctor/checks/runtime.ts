import { getFips } from 'node:crypto';

import { ACTIVATE_FIPS, fipsProblem, isApproved } from '../../crypto/fips';
import type { Installation } from '../../typeorm/installation/installation';
import { finding } from '../finding';
import type { Check, Finding } from '../finding';

import { ownManifest, isAtLeast } from './packages';

/** Checks Node.js, the FIPS mode of its OpenSSL, and what encrypts values. */
export const runtime: Check = (installation) => [
  ...node(process.versions.node),
  backend(installation.backend),
  ...fips(installation, getFips() === 1, fipsProblem()),
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
 * @param problem - what the OpenSSL of this process does or refuses, and should not.
 */
export function fips(
  { options }: Installation,
  on: boolean,
  problem: string | undefined,
): Finding[] {
  if (problem === undefined) {
    return [
      finding(
        'FIPS_ON',
        'OpenSSL is in FIPS mode: it refuses MD5 and ChaCha20, and AES and HMAC work.',
      ),
      ...notApproved(options),
    ];
  }
  if (!on && options.profile === undefined) {
    return [finding('FIPS_OFF', `OpenSSL is not in FIPS mode: ${problem}.`)];
  }
  return [finding('FIPS_NOT_ENFORCED', `FIPS mode is set, and ${problem}.`, ACTIVATE_FIPS)];
}

function notApproved({ suite, kms }: Installation['options']): Finding[] {
  const used = [
    ...(isApproved(suite) ? [] : [`suite ${suite}`]),
    ...(kms.unapproved === undefined ? [] : [kms.unapproved]),
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
