import { createHmac, randomBytes } from 'node:crypto';

import { ConfigurationError, FieldEncryptionError, KmsUnavailableError } from '../../errors';
import { codeSuffix } from '../remote/failures';
import { withEvidence } from '../remote/health';

/**
 * The user PIN of the token, or a function that is called for it at each login: usually once, and again
 * after the token has lost its sessions.
 */
export type Pin = string | (() => string | undefined | Promise<string | undefined>);

/** Keys the digests of PINs, so that nothing outside this process can compare with them. */
const digestKey = randomBytes(32);
/** The refused PINs of all tokens, for the whole process: tokens count mistakes, and then lock. */
const refused = new Set<string>();

/**
 * Obtains the PIN.
 *
 * @throws {@link ConfigurationError} if there is none; {@link KmsUnavailableError} if the function fails
 */
export async function askPin(pin: Pin): Promise<string> {
  const answer: unknown = typeof pin === 'function' ? await ask(pin) : pin;
  // Files with a PIN usually end with a line break, which is no part of it.
  const text = typeof answer === 'string' ? answer.replace(/\r?\n$/, '') : '';
  if (text !== '') return text;
  throw new ConfigurationError(
    'pkcs11Kms: there is no PIN. Is the file or secret that holds it in place?',
  );
}

/** @throws {@link ConfigurationError} for a PIN that this token has refused before */
export function requireUnrefused(token: string, pin: string): void {
  if (!refused.has(digest(token, pin))) return;
  const error = new ConfigurationError(
    'pkcs11Kms: the token has refused this PIN, and it is not tried again by this process because ' +
      'tokens lock after a few wrong ones. Correct the PIN and restart.',
  );
  throw withEvidence(error, { reachable: true, authenticated: false });
}

export function rememberRefused(token: string, pin: string): void {
  refused.add(digest(token, pin));
}

function digest(token: string, pin: string): string {
  return createHmac('sha256', digestKey).update(`${token}\0${pin}`).digest('base64');
}

async function ask(pin: Exclude<Pin, string>): Promise<string | undefined> {
  try {
    return await pin();
  } catch (error) {
    if (error instanceof FieldEncryptionError) throw error;
    // Without the cause, which comes from the application and may contain the PIN.
    throw new KmsUnavailableError(
      `pkcs11Kms: the function for the PIN failed${codeSuffix(error)}.`,
    );
  }
}
