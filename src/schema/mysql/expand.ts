import { mysqlChecks } from '../../typeorm/dialect/mysql/checks';
import { quotedName } from '../../typeorm/dialect/mysql/names';
import type { EncryptedColumn } from '../../typeorm/metadata/encrypted-column';
import { columnRefused } from '../expanded-table';
import type { ExpandedTable } from '../expanded-table';

import { ColumnChange } from './column-change';
import { assertRowFits, assertWideEnough } from './limits';
import { assertConvertible, liveColumns, storedForm } from './live-column';
import type { LiveColumn } from './live-column';
import { assertIndependent, keysForForeignKeys, outdatedParts } from './outdated-parts';
import type { OutdatedParts } from './outdated-parts';
import { not, queryWhether, TableConditions } from './table-conditions';
import { tableDefinition } from './table-definition';
import type { Part, TableDefinition } from './table-definition';

const UNLESS_STRICT = {
  query: "SELECT 1 FROM DUAL WHERE @@sql_mode NOT REGEXP 'STRICT_(TRANS|ALL)_TABLES'",
  message:
    'sql_mode is not strict, so that the database would cut values that are too long without an error. ' +
    'Add STRICT_TRANS_TABLES to sql_mode.',
};

/**
 * Removes what made sense only for cleartext from columns, and gives them a type that holds ciphertext. TypeORM
 * itself would drop them and add new ones: its `changeColumn` does not convert data.
 *
 * The database commits each ALTER TABLE by itself, and does it as a whole or not at all. So each step looks whether
 * it is done already, and a migration that was interrupted can run again.
 */
export async function expandColumns(
  target: ExpandedTable,
  columns: readonly EncryptedColumn[],
): Promise<void> {
  const { runner, table } = target;
  const definition = await tableDefinition(runner, table.name);
  const live = await liveColumns(runner, table.metadata.tablePath);
  const changes: ColumnChange[] = [];
  const outdated: OutdatedParts[] = [];
  for (const encrypted of columns) {
    changes.push(await changeOf(target, definition, live, encrypted));
    outdated.push(outdatedParts(target, definition, encrypted));
  }
  assertRowFits(target, live, changes);
  if (changes.length > 0) target.script.guard(UNLESS_STRICT);
  for (const change of changes) guardUndoing(target, change);
  addSteps(target, definition, changes, {
    keys: outdated.flatMap(({ keys }) => keys),
    checks: outdated.flatMap(({ checks }) => checks),
  });
}

async function changeOf(
  target: ExpandedTable,
  definition: TableDefinition,
  columns: ReadonlyMap<string, LiveColumn>,
  encrypted: EncryptedColumn,
): Promise<ColumnChange> {
  const { databaseName } = encrypted.column;
  const live = columns.get(databaseName);
  const part = definition.columns.find(({ name }) => name === databaseName);
  if (live === undefined || part === undefined) {
    throw columnRefused(
      encrypted,
      `SHOW CREATE TABLE ${target.table.name} does not show the column. ` +
        'Set sql_quote_show_create = 1 and leave ANSI_QUOTES out of sql_mode.',
    );
  }
  assertConvertible(live, encrypted);
  await assertIndependent(target, definition, encrypted);
  const stored = storedForm(live, encrypted);
  await target.assertNoCleartext(encrypted, stored);
  const timestamps = [...columns].flatMap(([name, { extra }]) =>
    /\bon update\b/i.test(extra) ? [name] : [],
  );
  const change = new ColumnChange(target, { encrypted, live, part, timestamps });
  if (change.isConverted) await assertWideEnough(target, encrypted, stored);
  target.inTransition.push({ encrypted, stored });
  return change;
}

function guardUndoing(target: ExpandedTable, change: ColumnChange): void {
  const { check, encrypted } = change;
  if (check !== undefined) target.noteDropped(encrypted, encrypted.column.databaseName, check);
  for (const definition of change.defaults) target.noteDefault(encrypted, definition);
  if (change.isConverted || change.isAltered) target.guardDown(encrypted);
}

/** Adds the steps of a table: those of its columns, and the one that changes all that it can at once. */
function addSteps(
  target: ExpandedTable,
  definition: TableDefinition,
  changes: readonly ColumnChange[],
  outdated: OutdatedParts,
): void {
  const { script } = target;
  const altered = changes.filter(({ isAltered }) => isAltered);
  const state = stateOf(target, altered, outdated);
  if (state !== undefined) {
    const { up, down } = actions(definition, altered, outdated);
    const alterTable = (of: readonly string[]): string =>
      `ALTER TABLE ${target.table.name} ${of.join(', ')}`;
    for (const step of altered.flatMap((change) => change.before())) script.step(step);
    script.step(
      { sql: alterTable(up), when: queryWhether(not(state.isDone)) },
      ...altered.flatMap((change) => change.beforeUndoing()),
      { sql: alterTable(down), when: queryWhether(state.isToUndo) },
    );
  }
  for (const step of changes.flatMap((change) => change.after())) script.step(...step);
  if (state === undefined) return;
  script.notes.push(
    `${target.table.metadata.name}: the migration copies the whole table, which nothing can write meanwhile.`,
  );
}

function actions(
  definition: TableDefinition,
  altered: readonly ColumnChange[],
  { keys, checks }: OutdatedParts,
): { readonly up: string[]; readonly down: string[] } {
  const instead = keysForForeignKeys(definition, keys);
  const dropIndex = ({ name }: Part): string => `DROP INDEX ${quotedName(name)}`;
  const add = ({ sql }: Part): string => `ADD ${sql}`;
  return {
    up: [
      ...keys.map(dropIndex),
      ...checks.map(mysqlChecks.drop),
      ...altered.map(({ action }) => action),
      ...instead.map(add),
    ],
    down: [
      ...instead.map(dropIndex),
      ...altered.map(({ undoingAction }) => undoingAction),
      ...[...keys, ...checks].map(add),
    ],
  };
}

/** Returns conditions on whether the table is changed, and is yet to be changed back; `undefined` if nothing is. */
function stateOf(
  { table }: ExpandedTable,
  [column]: readonly ColumnChange[],
  { keys: [key], checks: [check] }: OutdatedParts,
): Pick<ColumnChange, 'isDone' | 'isToUndo'> | undefined {
  if (column !== undefined) return column;
  const conditions = new TableConditions(table.metadata.tablePath);
  const found = key ?? check;
  if (found === undefined) return undefined;
  const isDone = not(found === key ? conditions.index(found.name) : conditions.check(found.name));
  return { isDone, isToUndo: isDone };
}
