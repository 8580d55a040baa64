import type { TableCheck } from 'typeorm';

import { quotedName } from '../../typeorm/dialect/postgres/names';
import type { CheckedTable, SchemaChanges } from '../schema-changes';

import { expandColumns } from './expand';

export const postgresSchema: SchemaChanges = {
  expandColumns,
  changeChecks: (checked, { missing, outdated }) => {
    for (const check of outdated) dropValidated(checked, check);
    return Promise.resolve(missing.map((check) => addUnvalidated(checked, check)));
  },
  buildConcurrently: (table, { name, isUnique, columnNames }) => {
    const schema = table.includes('.') ? `${table.split('.')[0] ?? ''}.` : '';
    const index = quotedName(String(name));
    return {
      drop: `DROP INDEX IF EXISTS ${schema}${index}`,
      create:
        `CREATE ${isUnique ? 'UNIQUE ' : ''}INDEX CONCURRENTLY ${index} ON ${table} (` +
        `${columnNames.map(quotedName).join(', ')})`,
    };
  },
};

/** `down` fails while there are values that the constraint would refuse. */
function dropValidated({ script, table }: CheckedTable, { name, expression }: TableCheck): void {
  const constraint = quotedName(String(name));
  script.step(
    `ALTER TABLE ${table.name} DROP CONSTRAINT ${constraint}`,
    `ALTER TABLE ${table.name} ADD CONSTRAINT ${constraint} CHECK (${String(expression)})`,
  );
}

/** Returns the statement that validates: ADD CONSTRAINT holds its lock until the end of its transaction. */
function addUnvalidated({ script, table }: CheckedTable, { name, expression }: TableCheck): string {
  const constraint = quotedName(String(name));
  script.step(
    `ALTER TABLE ${table.name} ADD CONSTRAINT ${constraint} CHECK (${String(expression)}) NOT VALID`,
    `ALTER TABLE ${table.name} DROP CONSTRAINT ${constraint}`,
  );
  return `ALTER TABLE ${table.name} VALIDATE CONSTRAINT ${constraint}`;
}
