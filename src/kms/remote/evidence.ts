/** What a failure shows of a key service, for its health to say; undefined is not known. */
export interface Evidence {
  /** Whether the service answered. */
  readonly reachable?: boolean;
  /** Whether it accepted the credentials. */
  readonly authenticated?: boolean;
  /** It knows the caller, who may not do what was asked. */
  readonly denied?: true;
}

/** Beside the errors and not on them: applications see no more of an error than its class says. */
const byError = new WeakMap<object, Evidence>();

/** Notes what an error shows, and returns the error. */
export function showing<E extends Error>(error: E, evidence: Evidence): E {
  byError.set(error, evidence);
  return error;
}

/** What is known of a failure beyond its message. */
export function shownBy(error: unknown): Evidence {
  return typeof error === 'object' && error !== null ? (byError.get(error) ?? {}) : {};
}
