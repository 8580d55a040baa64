import { types } from 'node:util';

import { ConfigurationError } from '../../errors';
import { showing } from './evidence';
import { TransientFailure } from './transient-failure';

/** The `code` that Node.js gives an error, such as `ECONNRESET`; undefined for an error without. */
export function codeOf(error: unknown): string | undefined {
  const code = types.isNativeError(error) && 'code' in error ? error.code : undefined;
  return typeof code === 'string' && /^[A-Z][A-Z0-9_]{1,60}$/.test(code) ? code : undefined;
}

/** The code in brackets, for a message that must not quote the error itself; nothing without one. */
export function codeSuffix(error: unknown): string {
  const code = codeOf(error);
  return code === undefined ? '' : ` (${code})`;
}

/**
 * What to throw in the place of an error of the network, which is not kept: it may carry the request.
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
  return showing(failure, { reachable: false });
}

function isCertificateProblem(code: string): boolean {
  return /CERT|ALTNAME|^UNABLE_TO_|^SELF_SIGNED|^DEPTH_ZERO|^ERR_SSL|^EPROTO$/.test(code);
}
