import { KeyUnwrapError } from '../../errors';

/** Cost of one passphrase derivation (RFC 7914). */
export interface ScryptParameters {
  /** Binary logarithm of N. Memory is 128 · r · N bytes. */
  readonly logN: number;
  readonly r: number;
  readonly p: number;
}

/** What new keys are wrapped with, and what is accepted of stored ones. */
export interface ScryptLimits {
  readonly preferred: ScryptParameters;
  readonly minLogN: number;
  readonly maxLogN: number;
  readonly maxP: number;
}

/**
 * N = 2^17, r = 8, p = 1: the OWASP Password Storage recommendation for scrypt; 128 MiB and about
 * half a second. Nothing cheaper was ever written, so anything cheaper in a key row is a downgrade;
 * above 2^20 (1 GiB) it is a way to stop the process.
 */
export const SCRYPT_LIMITS: ScryptLimits = Object.freeze({
  preferred: Object.freeze({ logN: 17, r: 8, p: 1 }),
  minLogN: 17,
  maxLogN: 20,
  maxP: 4,
});

/**
 * Checks parameters that come from a key row, before anything is computed with them.
 *
 * @throws {@link KeyUnwrapError}
 */
export function requireAcceptable(parameters: ScryptParameters, limits: ScryptLimits): void {
  const { logN, r, p } = parameters;
  const acceptable =
    logN >= limits.minLogN &&
    logN <= limits.maxLogN &&
    r === limits.preferred.r &&
    p >= 1 &&
    p <= limits.maxP;
  if (acceptable) return;
  throw new KeyUnwrapError(
    `the wrapped key asks for scrypt with N=2^${String(logN)}, r=${String(r)}, p=${String(p)}; ` +
      `accepted are N from 2^${String(limits.minLogN)} to 2^${String(limits.maxLogN)}, ` +
      `r=${String(limits.preferred.r)} and p up to ${String(limits.maxP)}. ` +
      'The key row was edited or damaged.',
  );
}
