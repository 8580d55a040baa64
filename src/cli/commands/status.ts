import { encryptedTables } from '../../reencryption/encrypted-table';
import type { ColumnStatus } from '../../reencryption/status';
import { missingTables } from '../../typeorm/missing-tables';
import { whatIsDue } from '../due';
import type { Due, Findings } from '../due';
import type { CommandResult } from '../output';
import type { Session } from '../session';
import { grouped, table } from '../table';
import { keysTable } from './keys-list';

/** Shows keys, encrypted columns, how many rows each key version holds, and what is due. */
export async function status(session: Session): Promise<CommandResult> {
  const findings = await look(session);
  const due = whatIsDue(findings);
  const { keyTable, keys, columns, missingTables } = findings;
  return {
    document: { keyTable, keys, columns, missingTables, due },
    text: [
      keys.length === 0 ? 'No data keys.' : keysTable(keys),
      columns.length === 0 ? 'No encrypted columns to count.' : columnsTable(columns),
      dueText(due),
    ].join('\n\n'),
  };
}

async function look({ installation, fieldEncryption }: Session): Promise<Findings> {
  const missing = await missingTables(
    installation.dataSource,
    encryptedTables(installation).map(({ metadata }) => metadata.tablePath),
  );
  const keyTable = await installation.store.exists();
  return {
    keyTable,
    keyNames: installation.columns.keyNames,
    keys: keyTable ? await fieldEncryption.keys.list() : [],
    unauthenticated: keyTable ? await fieldEncryption.keys.unauthenticated() : [],
    maintenance: keyTable ? await fieldEncryption.keys.maintain({ dryRun: true }) : null,
    now: installation.options.now?.() ?? new Date(),
    columns: keyTable && missing.length === 0 ? await fieldEncryption.status() : [],
    missingTables: missing,
  };
}

function columnsTable(columns: readonly ColumnStatus[]): string {
  return table(
    ['PROPERTY', 'COLUMN', 'ROWS', 'NULL', 'CLEARTEXT', 'ROWS BY KEY VERSION'],
    columns.map(
      ({ entity, property, table: name, column, rows, nullRows, cleartextRows, keys }) => [
        `${entity}.${property}`,
        `${name}.${column}`,
        grouped(rows),
        grouped(nullRows),
        grouped(cleartextRows),
        keys
          .map((key) =>
            key.name === undefined
              ? `unknown key ${key.keyId}: ${grouped(key.rows)}`
              : `${key.name} v${String(key.version)}: ${grouped(key.rows)}`,
          )
          .join(', '),
      ],
    ),
  );
}

function dueText(due: readonly Due[]): string {
  if (due.length === 0) return 'Nothing is due.';
  const lines = due.map(({ command, reason }) =>
    command === null ? `- ${reason}` : `- ${reason}: run ${command}`,
  );
  return ['Due:', ...lines].join('\n');
}
