import { types } from 'node:util';

import { ConfigurationError, KeyUnwrapError, KmsUnavailableError } from '../../errors';
import { codeOf, networkFailure, retryAfterMs, TransientFailure } from '../remote/failures';
import { withEvidence } from '../remote/health';

/** Names of exceptions that the next try may not meet. */
const TEMPORARY = [
  'ThrottlingException',
  'LimitExceededException',
  'TooManyRequestsException',
  'RequestLimitExceeded',
  'DependencyTimeoutException',
  'KeyUnavailableException',
  'KMSInternalException',
];

/** Problem and remedy, by the name of the exception. */
const REMEDIES: Readonly<Record<string, string>> = {
  NotFoundException: 'there is no such key. Check keyId, region and account',
  DisabledException: 'the key is disabled. Run: aws kms enable-key --key-id <key>',
  KMSInvalidStateException:
    'the state of the key forbids it. If it is pending deletion, run: aws kms cancel-key-deletion --key-id <key>',
  InvalidKeyUsageException:
    'the key cannot encrypt and decrypt. Use a symmetric key (SYMMETRIC_DEFAULT)',
  ValidationException: 'the request is refused. Is keyId that of a symmetric key?',
  InvalidArnException: 'keyId is not that of a key',
  ExpiredTokenException: 'the credentials have expired. Check where they come from, and the clock',
  UnrecognizedClientException: 'the credentials are not known. Check where they come from',
  InvalidSignatureException: 'the signature is refused. Check the credentials and the clock',
};

/** Names of exceptions that may go away when the credentials are read again. */
const CREDENTIALS = [
  'CredentialsProviderError',
  'TokenProviderError',
  'ExpiredToken',
  'ExpiredTokenException',
  'InvalidClientTokenId',
  'InvalidSignatureException',
  'UnrecognizedClientException',
];

/** The right that a call needs, in the words of a policy. */
export type Right = 'kms:Encrypt' | 'kms:Decrypt' | 'kms:DescribeKey';

function denied(right: Right): ConfigurationError {
  const error = new ConfigurationError(
    `awsKms: access is denied. Allow ${right} on the key, with the conditions of docs/aws-kms.md if any.`,
  );
  return withEvidence(error, { reachable: true, authenticated: true, denied: true });
}

/** Whether an error of the SDK is about the credentials. */
export function isOfCredentials(error: unknown): boolean {
  return types.isNativeError(error) && CREDENTIALS.includes(error.name);
}

interface ServiceException {
  readonly name: string;
  readonly status: number;
  readonly retryAfter: string | undefined;
}

/**
 * Returns the error to throw instead of one of the SDK, which is not kept: it carries the response, and
 * often the request.
 */
export function failureOf(error: unknown, right: Right): Error {
  if (!types.isNativeError(error)) return new TransientFailure('the SDK failed');
  const { name, status, retryAfter } = exceptionOf(error);
  if (isOfCiphertext(name, error.message)) {
    return new KeyUnwrapError(
      'awsKms: the key does not decrypt the data key: wrapped under another key, ' +
        'or the key row was edited, swapped or damaged. If keyId is an alias, was it moved?',
    );
  }
  if (TEMPORARY.includes(name) || status === 429 || status >= 500) {
    const failure = new TransientFailure(describe(name, status), retryAfterMs(retryAfter));
    return withEvidence(failure, { reachable: true });
  }
  if (name === 'AccessDeniedException') return denied(right);
  const remedy = Object.hasOwn(REMEDIES, name) ? REMEDIES[name] : undefined;
  if (remedy !== undefined) {
    const refused = new ConfigurationError(`awsKms: ${remedy}.`);
    return withEvidence(refused, { reachable: true, authenticated: !CREDENTIALS.includes(name) });
  }
  return withoutAnswer(error, name, status);
}

/**
 * Whether the ciphertext was refused. If it names a key that does not exist, the exception is a denial,
 * too, but one that does not say what the caller is not authorized to do.
 */
function isOfCiphertext(name: string, message: string): boolean {
  return (
    name === 'InvalidCiphertextException' ||
    name === 'IncorrectKeyException' ||
    (name === 'AccessDeniedException' && !message.includes('is not authorized to perform'))
  );
}

function withoutAnswer(error: Error, name: string, status: number): Error {
  if (name === 'CredentialsProviderError' || name === 'TokenProviderError') {
    const error = new KmsUnavailableError(
      'awsKms: there are no credentials to be had. Check the role of the process, its profile or environment.',
    );
    return withEvidence(error, { authenticated: false });
  }
  const code = codeOf(error);
  if (code !== undefined) {
    return networkFailure('awsKms', code, 'Check endpoint, and NODE_EXTRA_CA_CERTS.');
  }
  if (error.message === 'Region is missing') {
    return new ConfigurationError(
      'awsKms: there is no region. Give the ARN of the key as keyId, or region.',
    );
  }
  if (status === 0)
    return new TransientFailure(`the service is not reached (${describe(name, 0)})`);
  return new ConfigurationError(
    `awsKms: the call failed (${describe(name, status)}). Check endpoint, region and credentials.`,
  );
}

function exceptionOf(error: Error): ServiceException {
  const { $metadata, $response } = error as {
    $metadata?: { httpStatusCode?: number };
    $response?: { headers?: Record<string, string> };
  };
  return {
    name: error.name,
    status: $metadata?.httpStatusCode ?? 0,
    retryAfter: $response?.headers?.['retry-after'],
  };
}

/** Describes an exception; its name may come from the server, and is shown only if it looks like one. */
function describe(name: string, status: number): string {
  const shown = /^\w{1,60}$/.test(name) ? name : 'unknown error';
  return status === 0 ? shown : `${shown}, status ${String(status)}`;
}
