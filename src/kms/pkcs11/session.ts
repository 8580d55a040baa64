import type { Cryptoki, Handle } from './cryptoki';

/** An open session, for one operation at a time. */
export interface Session {
  readonly cryptoki: Cryptoki;
  readonly handle: Handle;
}

/** A session that is gone says so at its end too, in the place of what went wrong before. */
export function closeQuietly({ cryptoki, handle }: Session): void {
  try {
    cryptoki.C_CloseSession(handle);
  } catch {
    // Nothing is left to close.
  }
}
