import type { Cryptoki, Handle } from './cryptoki';

/** An open session, for one operation at a time. */
export interface Session {
  readonly cryptoki: Cryptoki;
  readonly handle: Handle;
}
