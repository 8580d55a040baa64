import { Option } from 'commander';
import type { Command } from 'commander';

import type { BackendChoice } from '../../crypto/native';
import { countedState } from '../../doctor/encryption-state';
import { grouped } from '../../doctor/finding';
import type { Finding } from '../../doctor/finding';
import { operatorTasks } from '../../doctor/operator-tasks';
import type { OperatorTask } from '../../doctor/operator-task';
import type { ScopeCount } from '../../keys/scopes/scope-key-store';
import type { ColumnStatus, KeyCoverage } from '../../reencryption/coverage/status';
import type { Session } from '../load/session';
import { EXIT_CODES } from '../terminal/command-error';
import { table } from '../terminal/table';

import { commandLine } from './command-line';
import { requireScopeOf, withScopes } from './common-options';
import type { ChooseWork, CommandWork, ScopeFlags } from './common-options';
import { keysTable } from './keys-list';
import { scopeParts } from './run-report-text';
import { statusOfScopes } from './scopes/scope-status';

/**
 * Shows keys, encrypted columns, how many rows each key version holds, and what is due.
 *
 * @param failOnDue - whether anything due is exit code 1, for CI and probes.
 */
export async function status(
  session: Session,
  { failOnDue = false }: { readonly failOnDue?: boolean } = {},
): ReturnType<CommandWork> {
  const { installation } = session;
  const state = await countedState(installation);
  const due = operatorTasks(state);
  const { keyTable, keys, columns, indexes, scopes, missingTables } = state;
  return {
    document: {
      backend: installation.backend.backend,
      keyTable,
      keys,
      columns,
      indexes,
      scopes,
      missingTables,
      due,
    },
    text: [
      keys.length === 0 ? 'No data keys.' : keysTable(keys),
      columns.length === 0 ? 'No encrypted columns to count.' : columnsTable(columns),
      ...(scopes.length === 0 ? [] : [scopesTable(scopes)]),
      dueText(session, due),
      backendText(installation.backend),
    ].join('\n\n'),
    exitCode: failOnDue && due.length > 0 ? EXIT_CODES.failed : EXIT_CODES.done,
  };
}

function columnsTable(columns: readonly ColumnStatus[]): string {
  return table(
    ['PROPERTY', 'ROWS', 'NULL', 'CLEARTEXT', 'ROWS BY KEY VERSION'],
    columns.map(({ entity, property, rows, nullRows, cleartextRows, keys, scopes }) => [
      `${entity}.${property}`,
      grouped(rows),
      grouped(nullRows),
      grouped(cleartextRows),
      [...(scopes === null ? [] : scopeParts(scopes)), ...keys.map(keyPart)].join(', '),
    ]),
  );
}

function keyPart({ keyId, name, version, rows }: KeyCoverage): string {
  const title = name === undefined ? `unknown key ${keyId}` : `${name} v${String(version)}`;
  return `${title}: ${grouped(rows)}`;
}

function scopesTable(scopes: readonly ScopeCount[]): string {
  return table(
    ['KIND', 'SCOPES', 'STATE'],
    scopes.map(({ kind, state, scopes: count }) => [kind, grouped(count), SCOPE_STATES[state]]),
  );
}

const SCOPE_STATES: Readonly<Record<ScopeCount['state'], string>> = {
  ...{ active: 'active', deactivated: 'deactivated', erased: 'erased' },
  ...{ held: 'under a legal hold', requested: 'erasure requested' },
};

function backendText({ backend }: BackendChoice): string {
  return backend === 'native'
    ? 'Values are encrypted by the native add-on.'
    : 'Values are encrypted in JavaScript.';
}

function dueText(session: Session, due: readonly OperatorTask[]): string {
  if (due.length === 0) return 'Nothing is due.';
  const lines = due.map(({ command, reason }) =>
    command === null ? `- ${reason}` : `- ${reason}. Run:\n  ${commandLine(session)} ${command}`,
  );
  return ['Due:', ...lines].join('\n');
}

/** Looks for what is wrong or weak, and says what to do. Exit code 1 if there are errors. */
async function doctor({ fieldEncryption }: Session): ReturnType<CommandWork> {
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

/** Adds the commands that look at everything and change nothing. */
export function addStatus(program: Command, choose: ChooseWork): void {
  withScopes(program.command('status'), 'the keys and rows of this scope instead')
    .description('show keys, encrypted columns, rows for each key version, and what is due')
    .addOption(
      new Option('--fail-on-due', 'exit with 1 if anything is due, for CI and probes').conflicts(
        'scope',
      ),
    )
    .action((options: ScopeFlags & { readonly failOnDue?: boolean }) => {
      const { scope, kind } = options;
      requireScopeOf(options);
      choose((session) =>
        scope === undefined ? status(session, options) : statusOfScopes(session, scope, kind),
      );
    });
  program
    .command('doctor')
    .description('look for what is wrong or weak, and say what to do; changes nothing')
    .action(() => {
      choose(doctor);
    });
}
