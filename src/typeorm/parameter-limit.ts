import type { DataSource } from 'typeorm';

/** PostgreSQL counts them in 16 bits. */
const POSTGRES_LIMIT = 65_535;
/** SQLite's, where the driver's SQLite was not built with another one. */
const SQLITE_LIMIT = 32_766;

/** How many parameters the database takes in one statement. */
export async function parameterLimit(dataSource: DataSource): Promise<number> {
  if (dataSource.options.type === 'postgres') return POSTGRES_LIMIT;
  const [built] = await dataSource.query<{ option: string }[]>(
    `SELECT compile_options AS option FROM pragma_compile_options WHERE compile_options LIKE 'MAX_VARIABLE_NUMBER=%'`,
  );
  return built === undefined ? SQLITE_LIMIT : Number(built.option.split('=')[1]);
}
