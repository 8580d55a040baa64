import type { EntityMetadata } from 'typeorm';
import { DriverUtils } from 'typeorm/driver/DriverUtils.js';
import type { SelectQuery } from 'typeorm/query-builder/SelectQuery.js';

import type { Installation } from '../../installation/installation';
import type { RowBinding } from '../../metadata/row-binding';
import { StoredInRow } from '../../metadata/stored-in-row';

import type { RawResult, Row } from './raw-result';

/**
 * Returns the columns that are selected of an entity, with those that encrypted ones among them are bound to.
 * TypeORM leaves columns out of the entity that nobody has asked for.
 */
export function withBoundColumns(
  selects: SelectQuery[],
  alias: string,
  metadata: EntityMetadata,
  { dataSource: { driver }, encryptedEntity }: Installation,
): SelectQuery[] {
  const { columns = [], isBound = false } = encryptedEntity(metadata) ?? {};
  if (!isBound) return selects;
  const nameOf = (name: string): string => DriverUtils.buildAlias(driver, undefined, alias, name);
  const names = new Set(selects.map(({ aliasName }) => aliasName));
  const added: SelectQuery[] = [];
  for (const { column, binding } of columns) {
    if (binding === undefined || !names.has(nameOf(column.databaseName))) continue;
    for (const { databaseName } of binding.columns) {
      const aliasName = nameOf(databaseName);
      if (names.has(aliasName)) continue;
      names.add(aliasName);
      const selection = `${driver.escape(alias)}.${driver.escape(databaseName)}`;
      added.push({ selection, aliasName, virtual: true });
    }
  }
  return [...selects, ...added];
}

/** Puts the context of their row beside the values of raw rows that are bound to it. */
export function bindToRows({ rows, columns, installation }: RawResult): void {
  const contexts = new Contexts(installation);
  for (const [key, { binding }, alias] of columns) {
    if (binding === undefined) continue;
    const contextOf = contexts.of(binding, alias);
    for (const [i, row] of rows.entries()) {
      const stored = row[key];
      if (stored === null || stored === undefined) continue;
      row[key] = new StoredInRow(stored, contextOf(row, i));
    }
  }
}

/** Takes them away again, for callers that get the raw rows along with the entities. */
export function restoreBoundValues({ rows, columns }: Pick<RawResult, 'rows' | 'columns'>): void {
  for (const [key, { binding }] of columns) {
    if (binding === undefined) continue;
    for (const row of rows) {
      const value = row[key];
      if (value instanceof StoredInRow) row[key] = value.stored;
    }
  }
}

/** The contexts of raw rows, each made once for all columns with the same binding. */
class Contexts {
  readonly #installation: Installation;
  readonly #known = new Map<string, (string | undefined)[]>();

  constructor(installation: Installation) {
    this.#installation = installation;
  }

  of(binding: RowBinding, alias: string): (row: Row, at: number) => string {
    const { driver } = this.#installation.dataSource;
    const names = new Map(
      binding.columns.map((column) => [
        column,
        DriverUtils.buildAlias(driver, undefined, alias, column.databaseName),
      ]),
    );
    const place = JSON.stringify([alias, ...binding.names]);
    const known = this.#known.get(place) ?? [];
    this.#known.set(place, known);
    return (row, at) => (known[at] ??= binding.contextOf((column) => row[names.get(column) ?? '']));
  }
}
