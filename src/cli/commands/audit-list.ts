import type { AuditEntry } from '../../audit/audit-entry';
import type { CommandResult } from '../output';
import type { Session } from '../session';
import { table } from '../table';

/** Lists entries of the audit log. */
export async function auditList(
  { fieldEncryption }: Session,
  range: { readonly after: number; readonly limit: number },
): Promise<CommandResult> {
  const entries = await fieldEncryption.audit.list(range);
  return {
    document: { entries },
    text: entries.length === 0 ? 'No entries.' : entriesTable(entries),
  };
}

function entriesTable(entries: readonly AuditEntry[]): string {
  return table(
    ['SEQ', 'TIME', 'ACTOR', 'OPERATION', 'OUTCOME', 'KEY', 'ID', 'STATE', 'DETAILS'],
    entries.map((entry) => [
      String(entry.seq),
      entry.time,
      entry.actor,
      entry.operation,
      entry.outcome,
      keyOf(entry),
      entry.keyId ?? '',
      entry.keyState ?? '',
      detailsOf(entry),
    ]),
  );
}

function keyOf({ keyName, keyPurpose, keyVersion }: AuditEntry): string {
  if (keyName === null) return '';
  const name = keyPurpose === 'data' ? keyName : String(keyPurpose);
  return `${name} ${String(keyVersion)}`;
}

function detailsOf({ reference, counts }: AuditEntry): string {
  const numbers = Object.entries(counts).map(([name, count]) => `${name}=${String(count)}`);
  return [...(reference === null ? [] : [reference]), ...numbers].join(' ');
}
