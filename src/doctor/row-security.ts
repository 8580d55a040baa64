import type { QueryRunner } from 'typeorm';
import { encryptedTables } from '../reencryption/encrypted-table';
import { escapedTable } from '../typeorm/escaped-table';
import { OWN_TABLES } from '../typeorm/own-tables';
import type { DatabaseCheck } from './check';
import type { Finding } from './finding';
import { finding } from './finding';

/** Whether PostgreSQL hides rows from the role of this process. */
export const rowSecurity: DatabaseCheck = async (installation, runner) => {
  const { dataSource } = installation;
  const found: Finding[] = [];
  for (const { schema } of OWN_TABLES) {
    const metadata = dataSource.getMetadata(schema);
    if (await mayHide(runner, escapedTable(dataSource, metadata))) {
      found.push(ownRowsHidden(metadata.tablePath));
    }
  }
  for (const { metadata, name } of encryptedTables(installation)) {
    if (await mayHide(runner, name)) found.push(rowsHidden(metadata.name, metadata.tablePath));
  }
  return found;
};

/** Whether a policy applies to the role on a table; `false` of one that does not exist. */
export async function mayHide(runner: QueryRunner, table: string): Promise<boolean> {
  if (runner.connection.options.type !== 'postgres') return false;
  const [row] = (await runner.query(
    'SELECT row_security_active(CAST(to_regclass($1) AS oid)) AS active',
    [table],
  )) as { active: boolean | null }[];
  return row?.active === true;
}

function rowsHidden(entity: string, table: string): Finding {
  return finding(
    'ROWS_HIDDEN',
    `Row-level security applies to the database role on ${table} of ${entity}: it may not see all rows. Runs, status and the destruction of keys are refused to it, the retention of scheduled maintenance too, and so are first keys.`,
    'That is right for an application that only uses keys. Run these as a role with BYPASSRLS, or as the owner of the table where it has no FORCE ROW LEVEL SECURITY. See the roles in docs/operations.md.',
  );
}

function ownRowsHidden(table: string): Finding {
  return finding(
    'OWN_ROWS_HIDDEN',
    `Row-level security applies to the database role on ${table}, a table of the library: what it hides is taken for missing.`,
    `Run: ALTER TABLE ${table} DISABLE ROW LEVEL SECURITY`,
  );
}
