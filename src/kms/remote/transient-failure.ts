/**
 * One try failed in a way in which the next may not. Stays within a provider: when no try is left it
 * becomes a `KmsUnavailableError`.
 */
export class TransientFailure extends Error {
  /** What the server asked to wait, in milliseconds; 0 when it asked for nothing. */
  readonly retryAfterMs: number;

  /** @param message - a clause without the name of the provider; never a secret */
  constructor(message: string, retryAfterMs = 0) {
    super(message);
    this.name = new.target.name;
    this.retryAfterMs = retryAfterMs;
  }
}
