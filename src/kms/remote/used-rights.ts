import type { KmsHealth } from '../kms-provider';
import { shownBy } from './evidence';

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
    if (shownBy(error).denied === true) note(false);
    throw error;
  }
}
