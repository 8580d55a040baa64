import { FieldEncryptionError } from '../../errors';
import type { KmsHealth } from '../kms-provider';
import { shownBy } from './evidence';

/** What a probe found out. Well, where it does not say otherwise. */
type Found = Partial<KmsHealth>;

/** Runs a probe, and turns its failure into an answer too. */
export async function healthOf(probe: () => Promise<Found>): Promise<KmsHealth> {
  try {
    return { ok: true, reachable: true, authenticated: true, ...(await probe()) };
  } catch (error) {
    const { reachable, authenticated } = shownBy(error);
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
    if (shownBy(error).denied !== true) throw error;
    return { detail: `the state of the key is not known: without ${right} it cannot be looked at` };
  }
}
