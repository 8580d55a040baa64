import { KeyUnwrapError } from '../../errors';

/** Cost of one passphrase derivation (RFC 7914). */
export interface ScryptParameters {
  /** Binary logarithm of N. Memory is 128 · r · N bytes. */
  readonly logN: number;
  readonly r: number;
  readonly p: number;
}

/** What new keys are wrapped with, which is the most that is accepted of stored ones, and the least. */
export interface ScryptLimits {
  readonly preferred: ScryptParameters;
  readonly minLogN: number;
}

/**
 * N = 2^17, r = 8, p = 1: the OWASP Password Storage recommendation for scrypt; 128 MiB and about
 * half a second. Nothing else was ever written, so anything cheaper in a key row is a downgrade, and
 * anything dearer a way to stop the process.
 */
export const SCRYPT_LIMITS: ScryptLimits = Object.freeze({
  preferred: Object.freeze({ logN: 17, r: 8, p: 1 }),
  minLogN: 17,
});

/**
 * Checks parameters that come from a key row, before anything is computed with them.
 *
 * @throws {@link KeyUnwrapError}
 */
export function requireAcceptable(parameters: ScryptParameters, limits: ScryptLimits): void {
  const { logN, r, p } = parameters;
  const { preferred, minLogN } = limits;
  const isCost = logN >= minLogN && logN <= preferred.logN;
  if (isCost && r === preferred.r && p === preferred.p) return;
  throw new KeyUnwrapError(
    `the wrapped key asks for scrypt with N=2^${String(logN)}, r=${String(r)}, p=${String(p)}; ` +
      `accepted are N from 2^${String(minLogN)} to 2^${String(preferred.logN)}, ` +
      `r=${String(preferred.r)} and p=${String(preferred.p)}. ` +
      'The key row was edited or damaged, or written by a newer version.',
  );
}
