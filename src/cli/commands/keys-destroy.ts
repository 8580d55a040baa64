import { grouped } from '../../doctor/counted';
import type { ColumnUse } from '../../keys/key-retirement';
import { isUnneeded } from '../../keys/key-retirement';
import { requireTransition } from '../../keys/key-transition';
import { confirm } from '../confirmation';
import type { CommandResult } from '../output';
import type { Session } from '../session';
import { table } from '../table';
import type { RetirementOptions } from './keys-revoke';

/** Erases a key that no row needs, and shows the proof. */
export async function keysDestroy(
  { fieldEncryption, installation }: Session,
  id: string,
  { dryRun, yes, graceMs }: RetirementOptions & { readonly graceMs: number | undefined },
): Promise<CommandResult> {
  const key = await installation.keys.operations.find(id);
  const what = key.purpose === 'data' ? `key "${key.name}"` : 'index root';
  const title = `${what} version ${String(key.version)} (${id})`;
  if (dryRun) {
    requireTransition(key, 'destroyed');
    const columns = await fieldEncryption.keys.uses(id);
    const needed = !isUnneeded(columns);
    const atRestFrom = await installation.keys.operations.atRestFrom(id, graceMs);
    return {
      document: { dryRun, key, needed, atRestFrom, columns },
      text: [
        needed ? `Would refuse: rows need ${title}, or may.` : `Would destroy ${title}.`,
        ...(atRestFrom === null ? [] : [graceText(atRestFrom)]),
        columnsTable(columns),
        'Nothing was changed.',
      ].join('\n'),
    };
  }
  await confirm(yes, {
    warning:
      `This erases ${title} for good. What this command cannot see, such as rows in backups or in ` +
      'tables of other applications, could never be read again.',
    word: id,
  });
  const { key: destroyed, ...proof } = await fieldEncryption.keys.destroy(
    id,
    graceMs === undefined ? {} : { graceMs },
  );
  return {
    document: { dryRun, key: destroyed, ...proof },
    text: [
      `Destroyed ${title}. SHA-256 of the wrapped key that was erased: ${proof.wrappedKeySha256}`,
      columnsTable(proof.columns),
    ].join('\n'),
  };
}

function graceText(atRestFrom: Date): string {
  return (
    `Refused before ${atRestFrom.toISOString()}, by the clock of the database: until then a process may ` +
    'still write with it. See --grace.'
  );
}

function columnsTable(columns: readonly ColumnUse[]): string {
  return table(
    ['PROPERTY', 'COLUMN', 'ROWS', 'UNDER THE KEY', 'UNDER UNKNOWN KEYS'],
    columns.map(({ entity, property, table: name, column, rows, ...under }) => [
      `${entity}.${property}`,
      `${name}.${column}`,
      grouped(rows),
      grouped(under.rowsUnderKey),
      grouped(under.rowsUnderUnknownKeys),
    ]),
  );
}
