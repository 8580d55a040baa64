import { FieldEncryptionError } from '../../errors';
import type { KmsHealth } from '../kms-provider';

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
export function withEvidence<E extends Error>(error: E, evidence: Evidence): E {
  byError.set(error, evidence);
  return error;
}

/** What is known of a failure beyond its message. */
export function evidenceOf(error: unknown): Evidence {
  return typeof error === 'object' && error !== null ? (byError.get(error) ?? {}) : {};
}

/**
 * Whether the last wrap and the last unwrap were allowed. The cloud services tell rights by their use
 * alone: conditions on the encryption context are not met by a value that is made up for the question.
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

/** An outage tells nothing of rights. */
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

/** What a probe found out. Well, where it does not say otherwise. */
type Found = Partial<KmsHealth>;

/** Runs a probe, and turns its failure into an answer too. */
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
 * What a probe found out, or what is left of it where the caller may not look at the key: that is a
 * right of its own, which neither wrapping nor unwrapping needs.
 *
 * @param right - to look at the key, in the words of the service
 */
export async function foundIfAllowed(probe: () => Promise<Found>, right: string): Promise<Found> {
  try {
    return await probe();
  } catch (error) {
    if (evidenceOf(error).denied !== true) throw error;
    return { detail: `the state of the key is not known: without ${right} it cannot be looked at` };
  }
}
