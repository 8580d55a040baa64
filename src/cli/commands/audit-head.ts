import type { CommandResult } from '../output';
import type { Session } from '../session';

/** Names the last entry of the audit log, to be noted where the database cannot reach. */
export async function auditHead({ fieldEncryption }: Session): Promise<CommandResult> {
  const head = await fieldEncryption.audit.head();
  return { document: { head }, text: head ?? 'No entries.' };
}
