import type { DataSource } from 'typeorm';

import { dialectOf } from '../dialect/dialect-of';

/**
 * Returns the place of the table at a path, for comparison: paths that the database takes for one table, such
 * as `patient`, `public.patient` and `"patient"`, have the same place.
 */
export function tablePlace(dataSource: DataSource, path: string): string {
  const parts = (path.match(/"(?:[^"]|"")*"|`[^`]*`|\[[^\]]*\]|[^.]+/g) ?? []).map(unquoted);
  const table = parts.at(-1) ?? '';
  return dialectOf(dataSource).names.tablePlace(dataSource, table, parts.at(-2));
}

function unquoted(name: string): string {
  return name.replace(/^["`[]|["`\]]$/g, '').replaceAll('""', '"');
}
