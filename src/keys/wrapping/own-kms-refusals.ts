/** What the KMS of a scope has failed with. */
const refusals = new WeakSet<Error>();

/** Asks the KMS of a scope, and notes what it fails with. */
export async function askingOwnKms<T>(ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    throw ofOwnKms(error);
  }
}

/** Notes that an error comes from the KMS of a scope, and returns it. */
export function ofOwnKms<E>(error: E): E {
  if (error instanceof Error) refusals.add(error);
  return error;
}

/** Whether an error, or one that it was caused by, comes from the KMS of a scope, which no other scope needs. */
export function isOwnKmsRefusal(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  return refusals.has(error) || isOwnKmsRefusal(error.cause);
}
