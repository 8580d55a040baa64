import type { BackendChoice } from '../../crypto/native';
import { grouped } from '../../doctor/finding';
import type { Finding } from '../../doctor/finding';
import { operatorTasks, encryptionState } from '../../doctor/operator-tasks';
import type { OperatorTask } from '../../doctor/operator-tasks';
import type { ColumnStatus } from '../../reencryption/coverage/status';
import type { Session } from '../load/session';
import { EXIT_CODES } from '../terminal/command-error';
import type { CommandResult } from '../terminal/output';
import { table } from '../terminal/table';

import type { CommandWork } from './common-options';
import { keysTable } from './keys-list';

/** Shows keys, encrypted columns, how many rows each key version holds, and what is due. */
export async function status({ installation }: Session): Promise<CommandResult> {
  const state = await encryptionState(installation, { counted: true });
  const due = operatorTasks(state);
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

function dueText(due: readonly OperatorTask[]): string {
  if (due.length === 0) return 'Nothing is due.';
  const lines = due.map(({ command, reason }) =>
    command === null ? `- ${reason}` : `- ${reason}: run ${command}`,
  );
  return ['Due:', ...lines].join('\n');
}

/** Looks for what is wrong or weak, and says what to do. Exit code 1 if there are errors. */
export async function doctor({ fieldEncryption }: Session): ReturnType<CommandWork> {
  const findings = await fieldEncryption.doctor();
  const ok = findings.every(({ level }) => level !== 'error');
  return {
    document: { ok, findings },
    text: findings.map(describe).join('\n'),
    exitCode: ok ? EXIT_CODES.done : EXIT_CODES.failed,
  };
}

function describe({ code, level, message, remedy }: Finding): string {
  const line = `${level.padEnd(7)} ${code}: ${message}`;
  return remedy === '' ? line : `${line}\n        ${remedy}`;
}
