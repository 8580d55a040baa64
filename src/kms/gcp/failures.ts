import { types } from 'node:util';

import { ConfigurationError, FieldEncryptionError, KeyUnwrapError } from '../../errors';
import { TransientFailure } from '../remote/failures';
import { withEvidence } from '../remote/health';
import type { Evidence } from '../remote/health';

/** Status codes of gRPC. */
const STATUS = {
  invalidArgument: 3,
  deadlineExceeded: 4,
  notFound: 5,
  permissionDenied: 7,
  failedPrecondition: 9,
  unimplemented: 12,
  unavailable: 14,
  unauthenticated: 16,
};

/** The operation that failed, on which the meaning of a failure depends. */
export type Operation = 'encrypt' | 'decrypt' | 'describe';

/** The IAM permission that each needs. */
const PERMISSIONS: Readonly<Record<Operation, string>> = {
  encrypt: 'cloudkms.cryptoKeyVersions.useToEncrypt',
  decrypt: 'cloudkms.cryptoKeyVersions.useToDecrypt',
  describe: 'cloudkms.cryptoKeys.get',
};

/**
 * Returns the error to throw instead of one of the SDK, which is not kept: it quotes the server, and may
 * carry the call.
 */
export function failureOf(error: unknown, operation: Operation): Error {
  if (error instanceof TransientFailure || error instanceof FieldEncryptionError) return error;
  const code: unknown = types.isNativeError(error) && 'code' in error ? error.code : undefined;
  return withEvidence(errorOf(error, code, operation), evidenceFor(error, code));
}

function evidenceFor(error: unknown, code: unknown): Evidence {
  if (isWithoutCredentials(error)) return { authenticated: false };
  const known = { reachable: true, authenticated: true } as const;
  switch (code) {
    case STATUS.permissionDenied:
      return { ...known, denied: true };
    case STATUS.unauthenticated:
      return { reachable: true, authenticated: false };
    case STATUS.unavailable:
    case STATUS.deadlineExceeded:
      return { reachable: false };
    case STATUS.notFound:
    case STATUS.failedPrecondition:
    case STATUS.invalidArgument:
      return known;
    default:
      return {};
  }
}

function errorOf(error: unknown, code: unknown, operation: Operation): Error {
  switch (code) {
    case STATUS.permissionDenied:
      return new ConfigurationError(
        `gcpKms: permission denied. Grant ${PERMISSIONS[operation]} on the key, as docs/gcp-kms.md says.`,
      );
    case STATUS.unauthenticated:
      return new ConfigurationError(
        'gcpKms: the credentials are refused. Check the service account, and the clock.',
      );
    case STATUS.notFound:
      return new ConfigurationError('gcpKms: there is no such key. Check keyName.');
    case STATUS.failedPrecondition:
      return unusableVersion(operation);
    case STATUS.invalidArgument:
      return refused(operation);
    case STATUS.unimplemented:
      return new ConfigurationError('gcpKms: the server is not Cloud KMS. Check the endpoint.');
    default:
      return withoutStatus(error, code);
  }
}

function unusableVersion(operation: Operation): Error {
  return operation === 'decrypt'
    ? new KeyUnwrapError(
        'gcpKms: the key version that wrapped the data key is disabled or destroyed; the key row names it ' +
          '(kek). Run gcloud kms keys versions enable, or restore while destruction is only scheduled.',
      )
    : new ConfigurationError(
        'gcpKms: the primary version of the key is not enabled. Enable it, or make another one primary: ' +
          'gcloud kms keys update --primary-version',
      );
}

function refused(operation: Operation): Error {
  return operation === 'decrypt'
    ? new KeyUnwrapError(
        'gcpKms: the key does not decrypt the data key: wrapped under another key, ' +
          'or the key row was edited, swapped or damaged.',
      )
    : new ConfigurationError(
        'gcpKms: the request is refused. Is the purpose of the key ENCRYPT_DECRYPT?',
      );
}

function withoutStatus(error: unknown, code: unknown): Error {
  if (isWithoutCredentials(error)) {
    return new ConfigurationError(
      'gcpKms: there are no application default credentials. Run the process as a service account, ' +
        'or set GOOGLE_APPLICATION_CREDENTIALS.',
    );
  }
  const shown = typeof code === 'number' || typeof code === 'string' ? String(code) : '';
  const status = /^\w{1,60}$/.test(shown) ? ` (status ${shown})` : '';
  return new TransientFailure(`the service is not reached or failed${status}`, waitAsked(error));
}

function isWithoutCredentials(error: unknown): boolean {
  return types.isNativeError(error) && error.message.includes('default credentials');
}

/** Reads `google.rpc.RetryInfo`, gRPC's `Retry-After`, in milliseconds. */
function waitAsked(error: unknown): number {
  const details = (error as { statusDetails?: unknown } | null)?.statusDetails;
  if (!Array.isArray(details)) return 0;
  for (const detail of details as ({ retryDelay?: { seconds?: unknown } } | null)[]) {
    const seconds = Number(detail?.retryDelay?.seconds);
    if (seconds > 0) return seconds * 1000;
  }
  return 0;
}
