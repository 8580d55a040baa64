import { resolve } from 'node:path';
import type { DataSource } from 'typeorm';

import type { NameRules } from '../name-rules';

/** The part of TypeORM's drivers that is used: the attached files. */
interface AttachingDriver {
  readonly attachedDatabases?: Readonly<
    Record<string, { readonly attachHandle: string; readonly attachFilepathAbsolute: string }>
  >;
}

/** SQLite ignores the case even of quoted names. */
export const sqliteNames: NameRules = {
  tablePlace: (dataSource, table, handle) =>
    JSON.stringify([fileOf(dataSource, handle), table.toLowerCase()]),
  columnPlace: (column) => column.toLowerCase(),
};

/** Returns the file that a name stands for, as one may be attached twice; `main` is the connection's own. */
function fileOf({ driver, options }: DataSource, handle = 'main'): string {
  const main = resolve(String(options.database));
  const { attachedDatabases = {} } = driver as AttachingDriver;
  const attached = Object.values(attachedDatabases).find(
    ({ attachHandle }) => attachHandle.toLowerCase() === handle.toLowerCase(),
  );
  if (attached === undefined) return handle.toLowerCase();
  const file = resolve(attached.attachFilepathAbsolute);
  return file === main ? 'main' : file;
}
