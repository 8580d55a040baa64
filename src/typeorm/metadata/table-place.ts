import { resolve } from 'node:path';
import type { DataSource } from 'typeorm';

/** The part of TypeORM's SQLite drivers that is used: the attached files. */
interface AttachingDriver {
  readonly attachedDatabases?: Readonly<
    Record<string, { readonly attachHandle: string; readonly attachFilepathAbsolute: string }>
  >;
}

/** The part of its PostgreSQL driver that is used: the schema of names without one. */
interface SearchingDriver {
  readonly searchSchema?: string;
}

/**
 * Returns the place of the table at a path, for comparison: paths that the database takes for one table, such
 * as `patient`, `public.patient` and `"patient"`, have the same place.
 */
export function tablePlace(dataSource: DataSource, path: string): string {
  const parts = (path.match(/"(?:[^"]|"")*"|`[^`]*`|\[[^\]]*\]|[^.]+/g) ?? []).map(unquoted);
  const table = parts.at(-1) ?? '';
  const qualifier = parts.at(-2);
  return dataSource.options.type === 'postgres'
    ? // A database in front can only be the one that is connected to.
      JSON.stringify([qualifier ?? (dataSource.driver as SearchingDriver).searchSchema, table])
    : // SQLite ignores the case even of quoted names.
      JSON.stringify([sqliteFile(dataSource, qualifier), table.toLowerCase()]);
}

/** Returns the file that a name stands for, as one may be attached twice; `main` is the connection's own. */
function sqliteFile({ driver, options }: DataSource, handle = 'main'): string {
  const main = resolve(String(options.database));
  const { attachedDatabases = {} } = driver as AttachingDriver;
  const attached = Object.values(attachedDatabases).find(
    ({ attachHandle }) => attachHandle.toLowerCase() === handle.toLowerCase(),
  );
  if (attached === undefined) return handle.toLowerCase();
  const file = resolve(attached.attachFilepathAbsolute);
  return file === main ? 'main' : file;
}

function unquoted(name: string): string {
  return name.replace(/^["`[]|["`\]]$/g, '').replaceAll('""', '"');
}
