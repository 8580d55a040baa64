import type { AuditEntry } from '../../audit/audit-entry';
import type { FindSeal } from '../../audit/audit-verification';

/** Returns the first of some entries if its seal holds, `null` if not, or if there is none. */
export async function provenEntry(
  [entry]: readonly AuditEntry[],
  findSeal: FindSeal,
): Promise<AuditEntry | null> {
  const seal = entry && (await findSeal(entry.sealedBy));
  return entry !== undefined && typeof seal === 'object' && seal.holds(entry) ? entry : null;
}
