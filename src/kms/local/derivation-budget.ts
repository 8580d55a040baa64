import { KeyUnwrapError } from '../../errors';

const WINDOW_MS = 60_000;
/** Salts that may open nothing within that time, and how often each of them. */
const MOST_SALTS = 10;
const MOST_TRIES = 3;

/**
 * Bounds the time that made-up key rows cost: each may name a salt of its own, and so take a derivation.
 * Salts that have opened a key are not counted.
 */
export class DerivationBudget {
  readonly #now: () => number;
  readonly #opening = new Set<string>();
  #vain: { readonly salt: string; readonly at: number }[] = [];

  constructor(now: () => number) {
    this.#now = now;
  }

  /** Notes a salt that no row made up: it has opened a key, or is about to wrap one. */
  noteGenuine(salt: string): void {
    this.#opening.add(salt);
    this.#vain = this.#vain.filter((each) => each.salt !== salt);
  }

  noteVain(salt: string): void {
    this.#vain.push({ salt, at: this.#now() });
  }

  /** @throws {@link KeyUnwrapError} where too much was derived in vain */
  require(salt: string): void {
    if (this.#opening.has(salt)) return;
    const since = this.#now() - WINDOW_MS;
    this.#vain = this.#vain.filter(({ at }) => at > since);
    const tries = this.#vain.filter((each) => each.salt === salt).length;
    const salts = new Set(this.#vain.map((each) => each.salt)).size;
    if (tries < MOST_TRIES && (tries > 0 || salts < MOST_SALTS)) return;
    throw new KeyUnwrapError(
      'localKms: nothing more is derived from the passphrase for a minute, because too many derivations ' +
        'opened no key. Either the passphrase is wrong, or somebody made up rows of the key table: ' +
        '`field-encryption audit verify` names them.',
    );
  }
}
