import { TableCheck } from 'typeorm';

import type { CheckConstraints } from '../check-constraints';

import { quotedName } from './names';
import { inSchema } from './table-name';

/** A row of `information_schema.check_constraints`; only MariaDB, where tables share names, has the table. */
interface StoredCheck {
  readonly TABLE_NAME?: string;
  readonly CONSTRAINT_NAME: string;
  readonly CHECK_CLAUSE: string;
}

export const mysqlChecks: CheckConstraints = {
  of: async (runner, { tablePath }) => {
    const { sql, values } = inSchema(tablePath);
    const found = (await runner.query(
      'SELECT k.* FROM information_schema.check_constraints k JOIN information_schema.table_constraints c ' +
        'ON c.constraint_schema = k.constraint_schema AND c.constraint_name = k.constraint_name ' +
        `WHERE ${sql.replaceAll('table_', 'c.table_')} AND c.constraint_type = 'CHECK'`,
      values,
    )) as StoredCheck[];
    const table = values.at(-1);
    return found
      .filter(({ TABLE_NAME: of = table }) => of === table)
      .map(
        (check) => new TableCheck({ name: check.CONSTRAINT_NAME, expression: check.CHECK_CLAUSE }),
      );
  },
  add: ({ name, expression }) =>
    `ADD CONSTRAINT ${quotedName(String(name))} CHECK (${String(expression)})`,
  drop: ({ name }) => `DROP CONSTRAINT ${quotedName(String(name))}`,
};
