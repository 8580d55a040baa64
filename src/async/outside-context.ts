import { AsyncLocalStorage } from 'node:async_hooks';

/** The context in which this module was loaded, which mostly is none. */
const inFirstContext = AsyncLocalStorage.snapshot();

/**
 * Runs work outside of the caller's context. A timer that a request starts would otherwise go on for its actor, its
 * scope, and in whatever the application keeps in its own AsyncLocalStorage, such as a transaction.
 */
export function outsideOfContext<T>(work: () => T): T {
  return inFirstContext(work);
}
