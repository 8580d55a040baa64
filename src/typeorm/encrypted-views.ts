import type { DataSource, EntityMetadata } from 'typeorm';
import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';
import { FieldEncryptionError, InvalidFieldPolicyError } from '../errors';
import { storedInClear } from './column-checks';
import { databaseViews } from './database-views';
import { describeColumn } from './encrypted-column';
import type { EncryptedColumn } from './encrypted-column';
import { exposures } from './exposed-columns';
import type { EncryptingTable } from './exposed-columns';
import { tablePlace } from './table-place';
import type { EncryptedColumns } from './take-over';

/** Stands for the row that a virtual column belongs to, in the SQL that is asked of it. */
const OWNER = 'virtual_column_owner';

/** A view over encrypted columns. */
interface EncryptedView extends EncryptingTable {
  /** See {@link tablePlace}. */
  readonly place: string;
}

/** A view and the SELECT that it is of. */
interface ViewText {
  readonly name: string;
  readonly path: string;
  readonly sql: string;
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
  const tables = [...byEntity].map(([metadata, { columns }]) =>
    tableOf(metadata.tableName, columns),
  );
  const views = encryptedViews(dataSource, tables, [
    ...(await textsOfDatabase(dataSource, [...byEntity.keys()])),
    ...dataSource.entityMetadatas.flatMap((metadata) => textOf(dataSource, metadata) ?? []),
  ]);
  const known = [...tables, ...views];
  for (const metadata of dataSource.entityMetadatas) {
    const ordinary = metadata.columns.filter((column) => !byColumn.has(column));
    checkMapped(dataSource, metadata, ordinary, views);
    checkText(dataSource, metadata, known);
    for (const column of ordinary.filter(({ isVirtualProperty }) => isVirtualProperty)) {
      checkVirtualColumn(dataSource, column, known, byEntity.get(metadata)?.columns ?? []);
    }
  }
  return new Map(
    views.flatMap(({ place, columns }) => [...columns.values()].map((each) => [place, each])),
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
    sql: definition,
  }));
}

/** The SQL of a view entity; `undefined` for others, and where its builder fails for reasons of its own. */
function textOf(dataSource: DataSource, metadata: EntityMetadata): ViewText | undefined {
  const { tableType, expression, tableName: name, tablePath: path } = metadata;
  if (tableType !== 'view' || expression === undefined) return undefined;
  if (typeof expression === 'string') return { name, path, sql: expression };
  try {
    return { name, path, sql: expression(dataSource).getQuery() };
  } catch (error) {
    if (error instanceof FieldEncryptionError) throw error;
    return undefined;
  }
}

/** The views of those texts that are over encrypted columns, and over one another. */
function encryptedViews(
  dataSource: DataSource,
  tables: readonly EncryptingTable[],
  texts: readonly ViewText[],
): EncryptedView[] {
  let views: EncryptedView[] = [];
  let found: number;
  do {
    found = views.length;
    const known = [...tables, ...views];
    views = texts.flatMap(({ name, path, sql }) => {
      const columns = new Map(
        exposures(sql, known).flatMap(({ as, encrypted }) =>
          as === undefined ? [] : [[as, encrypted]],
        ),
      );
      const view = { name: name.toLowerCase(), place: tablePlace(dataSource, path), columns };
      return columns.size > 0 ? [view] : [];
    });
  } while (views.length > found);
  return views;
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
      const encrypted = view.columns.get(column.databaseName.toLowerCase());
      if (encrypted === undefined) continue;
      if (isView) throw shownByView(metadata, column, encrypted);
      if (column.isInsert || column.isUpdate) throw storedInClear(encrypted, metadata, column);
    }
  }
}

function checkText(
  dataSource: DataSource,
  metadata: EntityMetadata,
  known: readonly EncryptingTable[],
): void {
  const text = textOf(dataSource, metadata);
  if (text === undefined) return;
  const hidden = exposures(text.sql, known).find(({ as }) => as === undefined);
  if (hidden !== undefined) throw usedBy(`the view entity ${metadata.name}`, hidden.encrypted);
}

function checkVirtualColumn(
  { driver }: DataSource,
  { query, propertyPath, entityMetadata }: ColumnMetadata,
  known: readonly EncryptingTable[],
  own: readonly EncryptedColumn[],
): void {
  if (query === undefined) return;
  const sql = `SELECT (${query(driver.escape(OWNER))}) FROM ${OWNER}`;
  const [shown] = exposures(sql, [...known, tableOf(OWNER, own)]);
  if (shown === undefined) return;
  throw usedBy(`the virtual column ${entityMetadata.name}.${propertyPath}`, shown.encrypted);
}

function tableOf(name: string, columns: readonly EncryptedColumn[]): EncryptingTable {
  return {
    name: name.toLowerCase(),
    columns: new Map(columns.map((each) => [each.column.databaseName.toLowerCase(), each])),
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

function usedBy(user: string, encrypted: EncryptedColumn): InvalidFieldPolicyError {
  const { entity, property } = encrypted.policy;
  return new InvalidFieldPolicyError(
    `${describeColumn(encrypted)}: ${user} names it in its SQL, or selects all columns of its table, where there is only ciphertext. ` +
      'Take it out there, name the columns that are wanted, and qualify those of other tables.',
    { entity, property },
  );
}
