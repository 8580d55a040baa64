import type { DataSource } from 'typeorm';

/** Has a table refuse new rows, by a trigger with a message, until {@link acceptRows}. */
export async function refuseRows(
  dataSource: DataSource,
  table: string,
  message: string,
): Promise<void> {
  for (const sql of triggerOf(dataSource, table, message)) await dataSource.query(sql);
}

/** Ends {@link refuseRows}. */
export async function acceptRows(dataSource: DataSource, table: string): Promise<void> {
  const of = dataSource.options.type === 'postgres' ? ` ON ${table}` : '';
  await dataSource.query(`DROP TRIGGER refuses${of}`);
}

function triggerOf({ options }: DataSource, table: string, message: string): string[] {
  const trigger = `CREATE TRIGGER refuses BEFORE INSERT ON ${table}`;
  switch (options.type) {
    case 'postgres':
      return [
        `CREATE FUNCTION refuse() RETURNS trigger AS $$ BEGIN RAISE EXCEPTION '${message}'; END $$ LANGUAGE plpgsql`,
        `${trigger} FOR EACH ROW EXECUTE FUNCTION refuse()`,
      ];
    case 'mysql':
    case 'mariadb':
      return [`${trigger} FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '${message}'`];
    default:
      return [`${trigger} BEGIN SELECT RAISE(ABORT, '${message}'); END`];
  }
}
