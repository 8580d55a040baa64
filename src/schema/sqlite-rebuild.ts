import { ConfigurationError } from '../errors';
import type { ExpandedTable } from './expanded-table';

/**
 * SQLite changes a table by making a new one, and TypeORM makes it from what it has read of the old
 * one: what it cannot read would be lost without a word, in `down` as well.
 *
 * @throws {@link ConfigurationError} when the table has such things
 */
export async function assertRebuildable(target: ExpandedTable): Promise<void> {
  const { runner, live, table } = target;
  // An attached file has a catalogue of its own.
  const [file] = table.metadata.tablePath.split('.').slice(0, -1);
  const catalogue = file === undefined ? 'sqlite_master' : `"${file}".sqlite_master`;
  const rows = (await runner.query(
    `SELECT type, name, sql FROM ${catalogue} WHERE tbl_name = ? AND type IN ('table', 'trigger')`,
    [table.metadata.tableName],
  )) as { type: string; name: string; sql: string }[];
  const sql = rows.find(({ type }) => type === 'table')?.sql ?? '';
  const checks = live.checks.length + live.columns.filter((column) => column.enum).length;
  const lost = [
    ...rows.filter(({ type }) => type === 'trigger').map(({ name }) => `the trigger "${name}"`),
    ...live.indices
      .filter(({ columnNames }) => columnNames.some((name) => (name as string | null) === null))
      .map(({ name }) => `the index "${String(name)}" on an expression`),
    ...(/\bCOLLATE\b/i.test(sql) ? ['a COLLATE clause'] : []),
    ...((sql.match(/\bCHECK\b/gi) ?? []).length > checks ? ['a CHECK without a name'] : []),
  ];
  if (lost.length === 0) return;
  throw new ConfigurationError(
    `${table.metadata.name}: on SQLite TypeORM rebuilds the table, and would lose ${lost.join(', ')}. ` +
      'Drop it in a migration of your own, run the command again, and bring back afterwards what is still wanted.',
    { entity: table.metadata.name },
  );
}
