import { FieldEncryptionError } from '../errors';
import type { FieldEncryptionErrorDetails } from '../errors';

/** The actor at work has used more values than the option `guard` allows. Nothing was decrypted or looked up. */
export class RateLimitedError extends FieldEncryptionError {
  readonly code = 'ERR_RATE_LIMITED';
  override readonly retryable = true;
  /** Milliseconds until the actor may use values again. */
  readonly retryAfterMs: number;

  constructor(message: string, details: FieldEncryptionErrorDetails & { retryAfterMs: number }) {
    super(message, details);
    this.retryAfterMs = details.retryAfterMs;
  }
}
