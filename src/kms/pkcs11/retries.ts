import { kindOfFailure } from './return-value';
import type { FailureKind } from './return-value';

/** Sleeps. Only for threads, which have a thread of their own. */
export function pause(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

/**
 * What one operation is tried again for, and after how many milliseconds; each kind of failure by
 * itself, since several can meet an operation one after the other.
 *
 * - `session-lost`: while other threads log in, NSS softoken invalidates the handles of a session that
 *   is new itself; while another process makes a key, handles that were just found are gone.
 * - `not-allowed`: SoftHSM2 shows a key that another process is making before all of its attributes
 *   are written, and refuses to use it. What is really not allowed is no more so the second time.
 * - `unclear`: SoftHSM2 answers `CKR_GENERAL_ERROR` at times when several processes use it.
 */
const TRY_AGAIN_AFTER_MS: Readonly<Record<FailureKind, readonly number[]>> = {
  'session-lost': [0, 10, 50, 200],
  'not-allowed': [100],
  unclear: [50],
  tampered: [],
  'pin-refused': [],
};

/** Runs `work`, which takes a new session after a failure, until no further attempt is worth it. */
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
