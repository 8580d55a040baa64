import { types } from 'node:util';

import {
  ConfigurationError,
  FieldEncryptionError,
  KeyUnwrapError,
  KmsUnavailableError,
} from '../../errors';
import { codeOf, networkFailure, retryAfterMs, TransientFailure } from '../remote/failures';
import { withEvidence } from '../remote/health';

/** The operation that failed, on which the meaning of a failure depends. */
export type Operation = 'describe' | 'wrap' | 'sign' | 'unwrap';

/**
 * Returns the error to throw instead of one of the SDK, which is not kept: it carries the request with
 * its token.
 */
export function failureOf(error: unknown, operation: Operation): Error {
  if (error instanceof FieldEncryptionError || error instanceof TransientFailure) return error;
  if (!types.isNativeError(error)) return new TransientFailure('the SDK failed');
  const { statusCode, response } = error as {
    statusCode?: unknown;
    response?: { headers?: { get?(name: string): string | undefined } };
  };
  if (statusCode === 200) return notKeyVault();
  if (typeof statusCode !== 'number') return withoutStatus(error);
  if (statusCode === 408 || statusCode === 429 || statusCode >= 500) {
    const failure = new TransientFailure(
      `the service asks to slow down or failed (status ${String(statusCode)})`,
      retryAfterMs(response?.headers?.get?.('retry-after')),
    );
    return withEvidence(failure, { reachable: true });
  }
  if (statusCode === 401) {
    return withEvidence(denied(statusCode, operation), { reachable: true, authenticated: false });
  }
  const known = { reachable: true, authenticated: true } as const;
  if (statusCode === 403) {
    return withEvidence(denied(statusCode, operation), { ...known, denied: true });
  }
  return withEvidence(
    operation === 'unwrap' ? notUnwrapped(statusCode) : notThere(statusCode),
    known,
  );
}

/** The rights that each needs; to unwrap, the public key of the signer is read, too. */
const RIGHTS: Readonly<Record<Exclude<Operation, 'sign'>, string>> = {
  describe: 'keys/get',
  wrap: 'keys/wrap',
  unwrap: 'keys/unwrap and keys/get',
};

function denied(status: number, operation: Operation): ConfigurationError {
  if (operation === 'sign') {
    return new ConfigurationError(
      `azureKms: it is denied to sign the key that was wrapped (status ${String(status)}). What makes or ` +
        'rewraps keys needs keys/sign on the key that signs: grant Key Vault Crypto User on it.',
    );
  }
  return new ConfigurationError(
    `azureKms: access is denied, or the key is disabled or expired (status ${String(status)}). Grant ` +
      `${RIGHTS[operation]} on the key, which Key Vault Crypto Service Encryption User has, and check its ` +
      'state and the firewall of the vault.',
  );
}

function notUnwrapped(status: number): KeyUnwrapError {
  return new KeyUnwrapError(
    status === 404 || status === 409
      ? 'azureKms: the key version that wrapped the data key is not there; the key row names it (kek). ' +
          'If the key was deleted, run: az keyvault key recover'
      : 'azureKms: the key does not unwrap the data key: wrapped under another key, ' +
          'or the key row was edited, swapped or damaged.',
  );
}

function notThere(status: number): ConfigurationError {
  return new ConfigurationError(
    status === 404 || status === 409
      ? 'azureKms: there is no such key, or it is deleted. Check keyId, or run: az keyvault key recover'
      : `azureKms: the request is refused (status ${String(status)}). Does algorithm fit the key?`,
  );
}

function withoutStatus(error: Error): Error {
  if (error.name.includes('CredentialUnavailable') || error.name.includes('Authentication')) {
    const none = new KmsUnavailableError(
      'azureKms: there is no token to be had. Check the managed identity or the credential.',
    );
    return withEvidence(none, { authenticated: false });
  }
  if (error.message.includes('challenge')) {
    return new ConfigurationError(
      'azureKms: the server asks for a token for another service. Is keyId that of a Key Vault or Managed HSM?',
    );
  }
  const code = codeOf(error);
  if (code === 'PARSE_ERROR') return notKeyVault();
  return code === undefined
    ? withEvidence(new TransientFailure('the service is not reached'), { reachable: false })
    : networkFailure('azureKms', code, 'Check keyId, and NODE_EXTRA_CA_CERTS.');
}

function notKeyVault(): ConfigurationError {
  return new ConfigurationError('azureKms: the answer is not that of Key Vault. Check keyId.');
}
