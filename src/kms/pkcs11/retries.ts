import { kindOfFailure } from './return-value';
import type { FailureKind } from './return-value';

/** Blocks the thread. Never to be called on the main thread. */
export function pause(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

/**
 * The failures to retry after, with pauses in milliseconds. Each kind has its own retries, since several
 * can meet one operation.
 *
 * - `session-lost`: while other threads log in, NSS softoken invalidates the handles even of a new
 *   session; while another process makes a key, handles that were just found are gone.
 * - `not-allowed`: SoftHSM2 shows a key before the process that makes it has written all of its
 *   attributes, and refuses to use it. What is really not allowed fails again.
 * - `unclear`: SoftHSM2 sometimes returns `CKR_GENERAL_ERROR` when several processes use it.
 */
const TRY_AGAIN_AFTER_MS: Readonly<Record<FailureKind, readonly number[]>> = {
  'session-lost': [0, 10, 50, 200],
  'not-allowed': [100],
  unclear: [50],
  tampered: [],
  'pin-refused': [],
};

/** Runs `work`, which opens a new session after a failure, until it succeeds or has no retries left. */
export function withRetries<T>(work: () => T): T {
  const failures = new Map<FailureKind, number>();
  for (;;) {
    try {
      return work();
    } catch (error) {
      const kind = kindOfFailure(error);
      if (kind === undefined) throw error;
      const before = failures.get(kind) ?? 0;
      const wait = TRY_AGAIN_AFTER_MS[kind][before];
      if (wait === undefined) throw error;
      failures.set(kind, before + 1);
      pause(wait);
    }
  }
}
