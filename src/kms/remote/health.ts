import { FieldEncryptionError } from '../../errors';
import type { KmsHealth } from '../kms-provider';

/** Facts that a failure shows about a key service, for its health; undefined is unknown. */
export interface Evidence {
  /** Whether the service answered. */
  readonly reachable?: boolean;
  /** Whether it accepted the credentials. */
  readonly authenticated?: boolean;
  /** It denied the call to a caller that it knows. */
  readonly denied?: true;
}

/** Kept beside the errors, not on them: applications see only the documented properties. */
const byError = new WeakMap<object, Evidence>();

/** Records what an error shows, and returns the error. */
export function withEvidence<E extends Error>(error: E, evidence: Evidence): E {
  byError.set(error, evidence);
  return error;
}

/** Returns what was recorded for an error. */
export function evidenceOf(error: unknown): Evidence {
  return typeof error === 'object' && error !== null ? (byError.get(error) ?? {}) : {};
}

/**
 * A record of whether the last wrap and the last unwrap were allowed. Cloud services reveal rights by
 * their use alone: a made-up value would not meet conditions on the encryption context.
 */
export class UsedRights {
  #mayWrap: boolean | undefined;
  #mayUnwrap: boolean | undefined;

  get known(): Pick<KmsHealth, 'mayWrap' | 'mayUnwrap'> {
    return { mayWrap: this.#mayWrap, mayUnwrap: this.#mayUnwrap };
  }

  wrapping<T>(call: Promise<T>): Promise<T> {
    return noted(call, (allowed) => (this.#mayWrap = allowed));
  }

  unwrapping<T>(call: Promise<T>): Promise<T> {
    return noted(call, (allowed) => (this.#mayUnwrap = allowed));
  }
}

/** Records whether a call was allowed; an outage says nothing about that. */
async function noted<T>(call: Promise<T>, note: (allowed: boolean) => void): Promise<T> {
  try {
    const result = await call;
    note(true);
    return result;
  } catch (error) {
    if (evidenceOf(error).denied === true) note(false);
    throw error;
  }
}

/** The findings of a probe: healthy unless they say otherwise. */
type Found = Partial<KmsHealth>;

/** Runs a probe, and turns a failure into a health report, too. */
export async function healthOf(probe: () => Promise<Found>): Promise<KmsHealth> {
  try {
    return { ok: true, reachable: true, authenticated: true, ...(await probe()) };
  } catch (error) {
    const { reachable, authenticated } = evidenceOf(error);
    const detail =
      error instanceof FieldEncryptionError ? error.message : 'the KMS does not answer';
    return { ok: false, detail, reachable, authenticated };
  }
}

/**
 * Runs a probe, and passes over a denial to describe the key: that is a right of its own, which neither
 * wrapping nor unwrapping needs.
 *
 * @param right - the right to describe the key, in the words of the service
 */
export async function foundIfAllowed(probe: () => Promise<Found>, right: string): Promise<Found> {
  try {
    return await probe();
  } catch (error) {
    if (evidenceOf(error).denied !== true) throw error;
    return { detail: `the state of the key is not known: without ${right} it cannot be looked at` };
  }
}
