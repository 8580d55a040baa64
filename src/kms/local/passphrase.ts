import { wipe } from '../../crypto/wipe';
import { isWellFormed } from '../../encoding/well-formed';
import { ConfigurationError, FieldEncryptionError, KmsUnavailableError } from '../../errors';

import { codeSuffix } from '../remote/network-failure';

const MIN_CHARACTERS = 12;

/**
 * A passphrase, or a function that is asked for it whenever a key-encryption key must be derived:
 * usually once, and again after {@link KmsProvider.close}.
 */
export type Passphrase = string | (() => string | undefined | Promise<string | undefined>);

/**
 * Runs `use` with the passphrase as NFC-normalized UTF-8, which is wiped afterwards. The same text
 * typed on another system may come composed differently; NFC makes it the same bytes.
 *
 * @throws {@link ConfigurationError} for a missing or too short passphrase
 */
export async function withPassphrase<T>(
  passphrase: Passphrase,
  use: (bytes: Uint8Array) => Promise<T>,
): Promise<T> {
  const text = requireStrong(typeof passphrase === 'string' ? passphrase : await ask(passphrase));
  const pooled = Buffer.from(text, 'utf8');
  // Out of Node's shared pool, whose memory other buffers can see.
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
    // The cause is the application's own, and may hold what the function was about to return.
    throw new KmsUnavailableError(`localKms: the passphrase function failed${codeSuffix(error)}.`);
  }
}
