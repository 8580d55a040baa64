import { ConfigurationError } from '../errors';

import type { KmsProvider } from './kms-provider';
import { KeyFileKek } from './local/key-file';
import { LocalKmsProvider } from './local/local-kms-provider';
import { requireStrong } from './local/passphrase';
import type { Passphrase } from './local/passphrase';
import { PassphraseKek } from './local/passphrase-kek';
import { SCRYPT_LIMITS } from './local/scrypt-parameters';

export type { Passphrase } from './local/passphrase';

/** The source of the key-encryption key: exactly one of the two. */
export type LocalKmsOptions =
  | {
      /**
       * A string of at least 12 characters, or a function that is called when the key-encryption key has
       * to be derived, which takes about half a second and 128 MiB (scrypt).
       */
      readonly passphrase: Passphrase;
    }
  | {
      /**
       * Path of a file that only its owner may read, with 32 random bytes, raw or as hexadecimal digits or
       * base64.
       */
      readonly keyFile: string;
    };

/**
 * Wraps data keys under a key-encryption key that this process gets from a passphrase or a file.
 *
 * **Warning**: anyone who has the passphrase or the file and the database has the data. A KMS or an HSM
 * keeps the key-encryption key out of reach even of the process.
 *
 * @example
 * ```ts
 * localKms({ passphrase: () => process.env.FIELD_ENCRYPTION_PASSPHRASE })
 * localKms({ keyFile: '/etc/clinic/field-encryption.key' })
 * ```
 * @throws {@link ConfigurationError} for options that cannot work
 */
export function localKms(options: LocalKmsOptions): KmsProvider {
  requireOneSource(options);
  if ('keyFile' in options)
    return new LocalKmsProvider(new KeyFileKek(requirePath(options.keyFile)));
  const { passphrase } = options;
  if (typeof passphrase !== 'function') requireStrong(passphrase);
  return new LocalKmsProvider(new PassphraseKek(passphrase, SCRYPT_LIMITS));
}

function requireOneSource(options: unknown): void {
  const given = typeof options === 'object' && options !== null ? Object.keys(options) : [];
  const [source] = given;
  if (given.length === 1 && (source === 'passphrase' || source === 'keyFile')) return;
  throw new ConfigurationError(
    `localKms: got ${given.length === 0 ? 'no option' : given.join(', ')}, ` +
      'want exactly one of passphrase and keyFile.',
  );
}

function requirePath(keyFile: unknown): string {
  if (typeof keyFile === 'string' && keyFile !== '') return keyFile;
  throw new ConfigurationError('localKms: keyFile must be the path of a file.');
}
