import type { BackendChoice } from '../../crypto/backend';
import { grouped } from '../../doctor/counted';
import type { ColumnStatus } from '../../reencryption/status';
import { whatIsDue } from '../../doctor/due';
import type { Due } from '../../doctor/due';
import { workState } from '../../doctor/work-state';
import type { CommandResult } from '../output';
import type { Session } from '../session';
import { table } from '../table';
import { keysTable } from './keys-list';

/** Shows keys, encrypted columns, how many rows each key version holds, and what is due. */
export async function status({ installation }: Session): Promise<CommandResult> {
  const state = await workState(installation, { counted: true });
  const due = whatIsDue(state);
  const { keyTable, keys, columns, missingTables } = state;
  return {
    document: {
      backend: installation.backend.backend,
      keyTable,
      keys,
      columns,
      missingTables,
      due,
    },
    text: [
      keys.length === 0 ? 'No data keys.' : keysTable(keys),
      columns.length === 0 ? 'No encrypted columns to count.' : columnsTable(columns),
      dueText(due),
      backendText(installation.backend),
    ].join('\n\n'),
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

function backendText({ backend }: BackendChoice): string {
  return backend === 'native'
    ? 'Values are encrypted by the native add-on.'
    : 'Values are encrypted in JavaScript.';
}

function dueText(due: readonly Due[]): string {
  if (due.length === 0) return 'Nothing is due.';
  const lines = due.map(({ command, reason }) =>
    command === null ? `- ${reason}` : `- ${reason}: run ${command}`,
  );
  return ['Due:', ...lines].join('\n');
}
