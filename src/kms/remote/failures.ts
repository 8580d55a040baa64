import { types } from 'node:util';

import { ConfigurationError } from '../../errors';

import { withEvidence } from './health';

/**
 * A failure that the next try may not meet. Stays within a provider: after the last try it becomes a
 * `KmsUnavailableError`.
 */
export class TransientFailure extends Error {
  /** Milliseconds that the server asked to wait; 0 if it did not ask. */
  readonly retryAfterMs: number;

  /** @param message - a clause without the name of the provider; never a secret */
  constructor(message: string, retryAfterMs = 0) {
    super(message);
    this.name = new.target.name;
    this.retryAfterMs = retryAfterMs;
  }
}

/** Returns the `code` of an error of Node.js, such as `ECONNRESET`; undefined if it has none. */
export function codeOf(error: unknown): string | undefined {
  const code = types.isNativeError(error) && 'code' in error ? error.code : undefined;
  return typeof code === 'string' && /^[A-Z][A-Z0-9_]{1,60}$/.test(code) ? code : undefined;
}

/** Returns the code in brackets, for a message that must not quote the error itself; empty if it has none. */
export function codeSuffix(error: unknown): string {
  const code = codeOf(error);
  return code === undefined ? '' : ` (${code})`;
}

/**
 * Returns the error to throw instead of a network error, which is not kept: it may carry the request.
 *
 * @param who - the provider, such as `awsKms`
 * @param remedy - for a certificate that is not trusted
 */
export function networkFailure(
  who: string,
  code: string,
  remedy: string,
): ConfigurationError | TransientFailure {
  const failure = isCertificateProblem(code)
    ? new ConfigurationError(
        `${who}: the certificate of the server is not accepted (${code}). ${remedy}`,
      )
    : new TransientFailure(`the server is not reached (${code})`);
  return withEvidence(failure, { reachable: false });
}

function isCertificateProblem(code: string): boolean {
  return /CERT|ALTNAME|^UNABLE_TO_|^SELF_SIGNED|^DEPTH_ZERO|^ERR_SSL|^EPROTO$/.test(code);
}

/**
 * Reads a `Retry-After` header (RFC 9110 section 10.2.3), seconds or a date, as milliseconds from
 * now; 0 if it is missing or invalid.
 */
export function retryAfterMs(header: string | undefined, now = Date.now()): number {
  if (header === undefined) return 0;
  if (/^\d{1,9}$/.test(header)) return Number(header) * 1000;
  const date = Date.parse(header);
  return Number.isNaN(date) ? 0 : Math.max(0, date - now);
}
