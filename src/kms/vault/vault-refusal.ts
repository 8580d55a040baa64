/** Vault answered, and not with what was asked for. Stays within the provider. */
export class VaultRefusal extends Error {
  readonly status: number;
  /** To be compared with, never to be shown: a server may write anything there, also what it was sent. */
  readonly #errors: readonly string[];

  constructor(status: number, errors: readonly string[]) {
    super(`status ${String(status)}`);
    this.name = new.target.name;
    this.status = status;
    this.#errors = errors;
  }

  /** Whether this is all that the server says. */
  saysOnly(text: string): boolean {
    return this.#errors.length === 1 && this.#errors[0] === text;
  }

  /** Whether one of the server's errors holds the phrase. */
  says(phrase: string): boolean {
    return this.#errors.some((error) => error.includes(phrase));
  }
}
