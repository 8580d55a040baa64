import { FieldEncryptionError } from '../../errors';
import type { KmsHealth } from '../kms-provider';

/** What a probe found out: a line for an operator, and what else it can tell. */
type Found = string | Omit<KmsHealth, 'ok'>;

/** Runs a probe, and turns its failure into an answer too. */
export async function healthOf(probe: () => Promise<Found>): Promise<KmsHealth> {
  try {
    const found = await probe();
    return { ok: true, ...(typeof found === 'string' ? { detail: found } : found) };
  } catch (error) {
    const detail =
      error instanceof FieldEncryptionError ? error.message : 'the KMS does not answer';
    return { ok: false, detail };
  }
}
