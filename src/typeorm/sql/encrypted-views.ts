import type { DataSource, EntityMetadata } from 'typeorm';
import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';
import { FieldEncryptionError, InvalidFieldPolicyError } from '../../errors';
import { storedInClear } from '../metadata/column-checks';
import { databaseViews } from './database-views';
import { describeColumn } from '../metadata/encrypted-column';
import type { EncryptedColumn, EncryptedColumns } from '../metadata/encrypted-column';
import { unmappedOrFunction } from './raw-use';
import { SqlCheck } from './sql-check';
import type { OnUse } from './sql-check';
import { sqlNodes } from './sql-nodes';
import type { SqlNode } from './sql-nodes';
import { joined, merged, Scope } from './sql-sources';
import type { Catalog, Source } from './sql-sources';
import { tablePlace } from '../metadata/table-place';

/** Stands for the row that a virtual column belongs to, in the SQL that is asked of it. */
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

/** A view and the SELECT that it is of. */
interface ViewText {
  readonly name: string;
  readonly path: string;
  readonly nodes: readonly SqlNode[];
}

/**
 * Refuses what would hand out ciphertext as if it were a value: ordinary columns of view entities, and
 * virtual columns, over an encrypted column; on PostgreSQL, whose views can be written, also ordinary
 * entities of a view, which would store cleartext through it.
 *
 * Goes by the SQL of the entities and, on PostgreSQL, of the views that the database has now.
 *
 * @returns an encrypted column of each view over some, by {@link tablePlace}
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
  const views = await databaseViews(dataSource, tables);
  return views.map(({ schema, name, definition }) => ({
    name,
    path: `"${schema}"."${name}"`,
    nodes: sqlNodes(definition),
  }));
}

/** The SQL of a view entity; `undefined` for others, and where its builder fails for reasons of its own. */
function textOf(dataSource: DataSource, metadata: EntityMetadata): ViewText | undefined {
  const { tableType, expression, tableName: name, tablePath: path } = metadata;
  if (tableType !== 'view' || expression === undefined) return undefined;
  if (typeof expression === 'string') return { name, path, nodes: sqlNodes(expression) };
  try {
    return { name, path, nodes: sqlNodes(expression(dataSource).getQuery()) };
  } catch (error) {
    if (error instanceof FieldEncryptionError) throw error;
    return undefined;
  }
}

/** The views of those texts that are over encrypted columns, and over one another. */
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

/** A view entity must not read, and no entity write, an encrypted column of a view as an ordinary one. */
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
  { driver }: DataSource,
  { query, propertyPath, entityMetadata }: ColumnMetadata,
  known: Catalog,
  own: Source,
): void {
  if (query === undefined) return;
  const scope = new Scope(new Scope());
  scope.add(OWNER, own);
  checkOf(known, (used, _clause, hiddenBy) => {
    throw usedBy(`the virtual column ${entityMetadata.name}.${propertyPath}`, used, hiddenBy);
  }).expression(sqlNodes(`(${query(driver.escape(OWNER))})`), scope);
}

function checkOf(known: Catalog, onUse: OnUse): SqlCheck {
  return new SqlCheck(known, 'a view', new Map(), onUse);
}

/** A table as the database has it: nothing replaces properties in the SQL of views by their columns. */
function sourceOf(metadata: EntityMetadata, columns: readonly EncryptedColumn[]): Source {
  const nameOf = ({ databaseName }: ColumnMetadata): string => databaseName.toLowerCase();
  const encrypted = new Map(columns.map((each) => [nameOf(each.column), each]));
  const plain = metadata.columns.map(nameOf).filter((name) => !encrypted.has(name));
  return { encrypted, plain: new Set(plain) };
}

/** Goes by the names without schema. */
function catalogOf({ options }: DataSource, sources: readonly NamedSource[]): Catalog {
  const byName = new Map<string, Source>();
  for (const { name, source } of sources) {
    const key = name.toLowerCase();
    byName.set(key, merged(byName.get(key), source));
  }
  return {
    rowsAreValues: options.type === 'postgres',
    source: (parts) => byName.get(parts.at(-1) ?? ''),
  };
}

function shownByView(
  view: EntityMetadata,
  { propertyPath }: ColumnMetadata,
  encrypted: EncryptedColumn,
): InvalidFieldPolicyError {
  const { entity, property, fieldId } = encrypted.policy;
  return new InvalidFieldPolicyError(
    `${describeColumn(encrypted)}: the view entity ${view.name} has it for an ordinary column, and would hand out ciphertext. ` +
      `Put @Encrypted({ id: '${fieldId}' }) on ${view.name}.${propertyPath} in the place of @ViewColumn, or take it away.`,
    { entity, property },
  );
}

function usedBy(
  user: string,
  encrypted: EncryptedColumn,
  hiddenBy: string | undefined,
): InvalidFieldPolicyError {
  const { entity, property } = encrypted.policy;
  const problem =
    hiddenBy === undefined
      ? `${user} names it in its SQL, or selects all columns of its table, where there is only ciphertext. ` +
        'Take it out there, name the columns that are wanted, and qualify those of other tables.'
      : `${user} has ${hiddenBy} in its SQL, ${unmappedOrFunction(encrypted, hiddenBy)}`;
  return new InvalidFieldPolicyError(`${describeColumn(encrypted)}: ${problem}`, {
    entity,
    property,
  });
}
