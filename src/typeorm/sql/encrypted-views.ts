import type { DataSource, EntityMetadata } from 'typeorm';
import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';

import { FieldEncryptionError } from '../../errors';
import type { InvalidFieldPolicyError } from '../../errors';
import { dialectOf } from '../dialect/dialect-of';
import { storedInClear } from '../metadata/column-checks';
import { policyRefused } from '../metadata/encrypted-column';
import type { EncryptedColumn, EncryptedColumns } from '../metadata/encrypted-column';
import { tablePlace } from '../metadata/table-place';

import { unmappedOrFunction } from './raw-use';
import { SqlCheck } from './sql-check';
import type { OnUse } from './sql-check';
import type { SqlNode } from './sql-nodes';
import { sqlNodes } from './sql-scanner';
import { joined, merged, Scope } from './sql-sources';
import type { Catalog, Source } from './sql-sources';

/** Stands for the row of a virtual column in its SQL. */
const OWNER = 'virtual_column_owner';

/** A table or view, by its name without schema. */
interface NamedSource {
  readonly name: string;
  readonly source: Source;
}

/** A view over encrypted columns. */
interface EncryptedView extends NamedSource {
  /** See {@link tablePlace}. */
  readonly place: string;
}

/** A view and its SELECT. */
interface ViewText {
  readonly name: string;
  readonly path: string;
  readonly nodes: readonly SqlNode[];
}

/**
 * Refuses ordinary columns of view entities, and virtual columns, over an encrypted column: they would hand
 * out ciphertext as if it were a value. On PostgreSQL, whose views can be written, also refuses ordinary
 * entities of such a view, which would store cleartext through it.
 *
 * Goes by the SQL of the entities and, on PostgreSQL, of the views that the database has now.
 *
 * @returns an encrypted column of each view that has one, by {@link tablePlace}
 * @throws {@link InvalidFieldPolicyError}
 */
export async function checkViews(
  dataSource: DataSource,
  encrypted: EncryptedColumns,
): Promise<ReadonlyMap<string, EncryptedColumn>> {
  const { byColumn, byEntity } = encrypted;
  if (byEntity.size === 0) return new Map();
  const { entityMetadatas } = dataSource;
  // Entities of one table may map different columns of it.
  const ownOf = ({ tablePath }: EntityMetadata): Source =>
    joined(
      entityMetadatas
        .filter((each) => each.tablePath === tablePath)
        .map((each) => sourceOf(each, byEntity.get(each)?.columns ?? [])),
    );
  const tables = entityMetadatas.map((metadata) => ({
    name: metadata.tableName,
    source: ownOf(metadata),
  }));
  const views = encryptedViews(dataSource, tables, [
    ...(await textsOfDatabase(dataSource, [...byEntity.keys()])),
    ...entityMetadatas.flatMap((metadata) => textOf(dataSource, metadata) ?? []),
  ]);
  const known = catalogOf(dataSource, [...tables, ...views]);
  for (const metadata of entityMetadatas) {
    const ordinary = metadata.columns.filter((column) => !byColumn.has(column));
    checkMapped(dataSource, metadata, ordinary, views);
    checkText(dataSource, metadata, known);
    for (const column of ordinary.filter(({ isVirtualProperty }) => isVirtualProperty)) {
      checkVirtualColumn(dataSource, column, known, ownOf(metadata));
    }
  }
  return new Map(
    views.flatMap(({ place, source }) =>
      [...source.encrypted.values()].map((each) => [place, each]),
    ),
  );
}

async function textsOfDatabase(
  dataSource: DataSource,
  tables: readonly EntityMetadata[],
): Promise<ViewText[]> {
  const views = await dialectOf(dataSource).catalog.views(dataSource, tables);
  return views.map(({ name, path, definition }) => {
    return { name, path, nodes: nodesOf(dataSource, definition) };
  });
}

/** Returns the SQL of a view entity; `undefined` for others, and if its builder fails for reasons of its own. */
function textOf(dataSource: DataSource, metadata: EntityMetadata): ViewText | undefined {
  const { tableType, expression, tableName: name, tablePath: path } = metadata;
  if (tableType !== 'view' || expression === undefined) return undefined;
  if (typeof expression === 'string') return { name, path, nodes: nodesOf(dataSource, expression) };
  try {
    return { name, path, nodes: nodesOf(dataSource, expression(dataSource).getQuery()) };
  } catch (error) {
    if (error instanceof FieldEncryptionError) throw error;
    return undefined;
  }
}

function nodesOf(dataSource: DataSource, sql: string): readonly SqlNode[] {
  return sqlNodes(sql, dialectOf(dataSource).lexicalRules);
}

/** Finds the views over encrypted columns, and over one another. */
function encryptedViews(
  dataSource: DataSource,
  tables: readonly NamedSource[],
  texts: readonly ViewText[],
): EncryptedView[] {
  let views: EncryptedView[] = [];
  let found: number;
  do {
    found = countOf(views);
    const known = catalogOf(dataSource, [...tables, ...views]);
    views = texts
      .map(({ name, path, nodes }) => ({
        name,
        place: tablePlace(dataSource, path),
        source: checkOf(known, () => {}).statement(nodes),
      }))
      .filter(({ source }) => source.encrypted.size > 0);
  } while (countOf(views) > found);
  return views;
}

function countOf(views: readonly EncryptedView[]): number {
  return views.reduce((sum, { source }) => sum + source.encrypted.size, 0);
}

/** Refuses a view entity that reads, and any entity that writes, an encrypted column of a view as an ordinary one. */
function checkMapped(
  dataSource: DataSource,
  metadata: EntityMetadata,
  ordinary: readonly ColumnMetadata[],
  views: readonly EncryptedView[],
): void {
  const place = tablePlace(dataSource, metadata.tablePath);
  const isView = metadata.tableType === 'view';
  for (const view of views.filter((each) => each.place === place)) {
    for (const column of ordinary) {
      const encrypted = view.source.encrypted.get(column.databaseName.toLowerCase());
      if (encrypted === undefined) continue;
      if (isView) throw shownByView(metadata, column, encrypted);
      if (column.isInsert || column.isUpdate) throw storedInClear(encrypted, metadata, column);
    }
  }
}

function checkText(dataSource: DataSource, metadata: EntityMetadata, known: Catalog): void {
  const text = textOf(dataSource, metadata);
  if (text === undefined) return;
  checkOf(known, (used, _clause, hiddenBy) => {
    throw usedBy(`the view entity ${metadata.name}`, used, hiddenBy);
  }).statement(text.nodes);
}

function checkVirtualColumn(
  dataSource: DataSource,
  { query, propertyPath, entityMetadata }: ColumnMetadata,
  known: Catalog,
  own: Source,
): void {
  if (query === undefined) return;
  const scope = new Scope(new Scope());
  scope.add(OWNER, own);
  checkOf(known, (used, _clause, hiddenBy) => {
    throw usedBy(`the virtual column ${entityMetadata.name}.${propertyPath}`, used, hiddenBy);
  }).expression(nodesOf(dataSource, `(${query(dataSource.driver.escape(OWNER))})`), scope);
}

function checkOf(known: Catalog, onUse: OnUse): SqlCheck {
  return new SqlCheck(known, 'a view', new Map(), onUse);
}

/** Returns a table by its column names: nothing replaces properties in the SQL of views. */
function sourceOf(metadata: EntityMetadata, columns: readonly EncryptedColumn[]): Source {
  const nameOf = ({ databaseName }: ColumnMetadata): string => databaseName.toLowerCase();
  const encrypted = new Map(columns.map((each) => [nameOf(each.column), each]));
  const plain = metadata.columns.map(nameOf).filter((name) => !encrypted.has(name));
  return { encrypted, plain: new Set(plain) };
}

/** Returns the catalog of tables and views by their names without schema. */
function catalogOf(dataSource: DataSource, sources: readonly NamedSource[]): Catalog {
  const byName = new Map<string, Source>();
  for (const { name, source } of sources) {
    const key = name.toLowerCase();
    byName.set(key, merged(byName.get(key), source));
  }
  return {
    rowsAreValues: dialectOf(dataSource).sql.rowsAreValues,
    source: (parts) => byName.get(parts.at(-1) ?? ''),
  };
}

function shownByView(
  view: EntityMetadata,
  { propertyPath }: ColumnMetadata,
  encrypted: EncryptedColumn,
): InvalidFieldPolicyError {
  return policyRefused(
    encrypted.policy,
    `the view entity ${view.name} has it for an ordinary column, and would hand out ciphertext. ` +
      `Put @Encrypted({ id: '${encrypted.policy.fieldId}' }) on ${view.name}.${propertyPath} in the place of @ViewColumn, or take it away.`,
  );
}

function usedBy(
  user: string,
  encrypted: EncryptedColumn,
  hiddenBy: string | undefined,
): InvalidFieldPolicyError {
  const problem =
    hiddenBy === undefined
      ? `${user} names it in its SQL, or selects all columns of its table, where there is only ciphertext. ` +
        'Take it out there, name the columns that are wanted, and qualify those of other tables.'
      : `${user} has ${hiddenBy} in its SQL, ${unmappedOrFunction(encrypted, hiddenBy)}`;
  return policyRefused(encrypted.policy, problem);
}
