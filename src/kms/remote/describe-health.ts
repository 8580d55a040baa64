import { FieldEncryptionError } from '../../errors';
import type { KmsHealth } from '../kms-provider';

/** Runs a probe, which answers a line for an operator, and turns its failure into an answer too. */
export async function healthOf(probe: () => Promise<string>): Promise<KmsHealth> {
  try {
    return { ok: true, detail: await probe() };
  } catch (error) {
    const detail =
      error instanceof FieldEncryptionError ? error.message : 'the KMS does not answer';
    return { ok: false, detail };
  }
}
