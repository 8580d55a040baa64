import { parseOptions } from './pkcs11/options';
import type { Pkcs11KmsOptions } from './pkcs11/options';
import { Pkcs11KmsProvider } from './pkcs11/pkcs11-provider';
import type { Pkcs11Kms } from './pkcs11/pkcs11-provider';
import { SessionPool } from './pkcs11/session-pool';
import { WorkerSessionThread } from './pkcs11/session-thread';
import { tokenName } from './pkcs11/token';

export type { KeyWrapName } from './pkcs11/key-wrap';
export type { Pkcs11KmsOptions } from './pkcs11/options';
export type { Pin } from './pkcs11/pin';
export type { Pkcs11Kms } from './pkcs11/pkcs11-provider';
export type { TokenSelector } from './pkcs11/token';

/**
 * Wraps data keys under a key-encryption key that never leaves an HSM, through PKCS #11.
 *
 * The KEK must be an AES key of 256 bits, sensitive, private and not extractable; anything else is
 * refused. All calls run on threads of their own and never block the event loop. Loads nothing and does
 * not log in before the first use. Needs the package `pkcs11js`.
 *
 * @example
 * ```ts
 * pkcs11Kms({
 *   library: '/usr/lib/softhsm/libsofthsm2.so',
 *   token: { label: 'clinic' },
 *   pin: () => readFile('/run/secrets/hsm-pin', 'utf8'),
 *   keyLabel: 'clinic-kek',
 * })
 * ```
 * @throws {@link ConfigurationError} for options that cannot work
 */
export function pkcs11Kms(options: Pkcs11KmsOptions): Pkcs11Kms {
  const { settings, limits, pin } = parseOptions(options);
  const pool = new SessionPool(() => new WorkerSessionThread(settings), limits);
  return new Pkcs11KmsProvider(pool, pin, tokenName(settings));
}
