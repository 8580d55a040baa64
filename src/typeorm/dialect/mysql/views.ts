import type { DataSource, EntityMetadata } from 'typeorm';

import type { DatabaseView } from '../database-catalog';

import { quotedName } from './names';

const VIEWS_SQL =
  'SELECT table_schema AS `schema`, table_name AS name, view_definition AS definition FROM information_schema.views ' +
  "WHERE table_schema NOT IN ('sys', 'mysql', 'information_schema', 'performance_schema')";

interface StoredView {
  readonly schema: string;
  readonly name: string;
  readonly definition: string;
}

/** Finds views by their text, in which the server has put all names into quotes. */
export async function views(
  dataSource: DataSource,
  tables: readonly EntityMetadata[],
): Promise<readonly DatabaseView[]> {
  const all = await dataSource.query<StoredView[]>(VIEWS_SQL);
  const names = new Set(tables.map(({ tableName }) => tableName.toLowerCase()));
  const found = new Set<StoredView>();
  for (let before = -1; before < found.size;) {
    before = found.size;
    for (const view of all) {
      if (found.has(view) || !mentions(view, names)) continue;
      found.add(view);
      names.add(view.name.toLowerCase());
    }
  }
  return [...found].map(({ schema, name, definition }) => ({
    name,
    path: `${quotedName(schema)}.${quotedName(name)}`,
    definition,
  }));
}

function mentions({ definition }: StoredView, names: ReadonlySet<string>): boolean {
  const text = definition.toLowerCase();
  return [...names].some((name) => text.includes(quotedName(name)));
}
