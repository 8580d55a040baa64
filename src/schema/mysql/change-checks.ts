import { mysqlChecks } from '../../typeorm/dialect/mysql/checks';
import type { CheckChanges, CheckedTable, SchemaChanges } from '../schema-changes';

import { not, queryWhether, TableConditions } from './table-conditions';

/** Changes all constraints of a table in one statement, which the database does as a whole or not at all. */
export const changeChecks: SchemaChanges['changeChecks'] = (checked, { missing, outdated }) => {
  const { script, table } = checked;
  const isBefore = stateBefore(checked, { missing, outdated });
  if (isBefore === undefined) return Promise.resolve([]);
  const alterTable = (drop: CheckChanges['missing'], add: CheckChanges['missing']): string => {
    const actions = [...drop.map(mysqlChecks.drop), ...add.map(mysqlChecks.add)];
    return `ALTER TABLE ${table.name} ${actions.join(', ')}`;
  };
  script.step(
    { sql: alterTable(outdated, missing), when: queryWhether(isBefore) },
    { sql: alterTable(missing, outdated), when: queryWhether(not(isBefore)) },
  );
  script.notes.push(
    `${table.metadata.name}: the migration reads the whole table, which nothing can write meanwhile.`,
  );
  return Promise.resolve([]);
};

function stateBefore(
  { table }: CheckedTable,
  { missing: [missing], outdated: [outdated] }: CheckChanges,
): string | undefined {
  const conditions = new TableConditions(table.metadata.tablePath);
  if (missing !== undefined) return not(conditions.check(String(missing.name)));
  return outdated === undefined ? undefined : conditions.check(String(outdated.name));
}
