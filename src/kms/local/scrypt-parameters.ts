import { KeyUnwrapError } from '../../errors';

/** Cost of one passphrase derivation (RFC 7914). */
export interface ScryptParameters {
  /** Binary logarithm of N. Memory is 128 · r · N bytes. */
  readonly logN: number;
  readonly r: number;
  readonly p: number;
}

/** The parameters of new keys, which are the most that is accepted of stored ones, and the least. */
export interface ScryptLimits {
  readonly preferred: ScryptParameters;
  readonly minLogN: number;
}

/**
 * N = 2^17, r = 8, p = 1: the OWASP Password Storage recommendation for scrypt; 128 MiB and about
 * half a second. No version wrote anything else, so anything cheaper in a key row is a downgrade, and
 * anything dearer a denial of service.
 */
export const SCRYPT_LIMITS: ScryptLimits = Object.freeze({
  preferred: Object.freeze({ logN: 17, r: 8, p: 1 }),
  minLogN: 17,
});

/**
 * Checks parameters from a key row before they are used.
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

const WINDOW_MS = 60_000;
/** The most salts that may open nothing within the window, and derivations for each of them. */
const MOST_SALTS = 10;
const MOST_TRIES = 3;

/**
 * A limit on the time that forged key rows cost, each of which may name a salt of its own and so take a
 * derivation. Salts that have opened a key do not count.
 */
export class DerivationBudget {
  readonly #now: () => number;
  readonly #opening = new Set<string>();
  #vain: { readonly salt: string; readonly at: number }[] = [];

  constructor(now: () => number) {
    this.#now = now;
  }

  /** Records a genuine salt: one that has opened a key, or is about to wrap one. */
  noteGenuine(salt: string): void {
    this.#opening.add(salt);
    this.#vain = this.#vain.filter((each) => each.salt !== salt);
  }

  /** Records that a salt opened nothing, and returns whether its next row may take another derivation. */
  noteVain(salt: string): boolean {
    const tries = this.#recent().filter((each) => each.salt === salt).length;
    if (tries >= MOST_TRIES) return false;
    this.#vain.push({ salt, at: this.#now() });
    return tries + 1 < MOST_TRIES;
  }

  /** @throws {@link KeyUnwrapError} if too much was derived in vain */
  require(salt: string): void {
    if (this.#opening.has(salt)) return;
    const salts = new Set(this.#recent().map((each) => each.salt));
    if (salts.has(salt) || salts.size < MOST_SALTS) return;
    throw new KeyUnwrapError(
      'localKms: nothing more is derived from the passphrase for a minute, because too many derivations ' +
        'opened no key. Either the passphrase is wrong, or somebody made up rows of the key table: ' +
        '`field-encryption audit verify` names them.',
    );
  }

  #recent(): readonly { readonly salt: string }[] {
    const since = this.#now() - WINDOW_MS;
    this.#vain = this.#vain.filter(({ at }) => at > since);
    return this.#vain;
  }
}
