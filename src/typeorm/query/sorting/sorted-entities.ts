import { isDeepStrictEqual } from 'node:util';
import type {
  EntityManager,
  EntityMetadata,
  EntityTarget,
  FindManyOptions,
  FindOptionsOrder,
  ObjectLiteral,
  QueryRunner,
  SelectQueryBuilder,
} from 'typeorm';
import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';

import { ConfigurationError, UnsupportedQueryError } from '../../../errors';
import { Sealed } from '../../../field/sealed';
import { pagesOf } from '../../../keys/store/pages-of';
import { dialectOf } from '../../dialect/dialect-of';
import type { Installation } from '../../installation/installation';
import { rawName } from '../hydration/raw-result';
import { openSealed } from '../hydration/sealed-column';

import { sortKeys } from './sort-order';
import type { SortKey } from './sort-order';
import { sortRows } from './sort-rows';
import type { ReadRow, TextCollator } from './sort-rows';

/** Options of {@link FieldEncryption.sorted}: those of `find`, and how to sort. */
export interface SortedOptions<T> extends FindManyOptions<T> {
  /** The order, by columns of the entity, encrypted or in clear. The primary key decides between equals. */
  order: FindOptionsOrder<T>;
  /** The most rows that `where` may find, whatever `take` is: all of them are read. Defaults to 10,000. */
  limit?: number;
  /** How encrypted texts compare, such as `new Intl.Collator('de')`. Defaults to the order of code points. */
  collator?: TextCollator;
}

const DEFAULT_LIMIT = 10_000;
/** A condition on several primary keys becomes an OR, of which SQLite nests no more than 1,000. */
const LOADED_AT_ONCE = 500;
const ALIAS = 'sorted';

/** The entity that is sorted, and by what. */
interface Sorting<T extends ObjectLiteral> {
  readonly entity: EntityTarget<T>;
  readonly metadata: EntityMetadata;
  readonly manager: EntityManager;
  readonly options: SortedOptions<T>;
  readonly keys: readonly SortKey[];
}

/** Finds the entities of a page of rows that are sorted after decryption. */
export async function sortedEntities<T extends ObjectLiteral>(
  installation: Installation,
  entity: EntityTarget<T>,
  options: SortedOptions<T>,
  manager: EntityManager = installation.dataSource.manager,
): Promise<T[]> {
  const { skip = 0, take, limit = DEFAULT_LIMIT, collator } = options;
  requireCounts({ skip, take, limit });
  requireOrder(options.order);
  const { dataSource } = installation;
  const metadata = dataSource.getMetadata(entity);
  const keys = sortKeys(installation, metadata, options.order);
  const sorting = { entity, metadata, manager, options, keys };
  await requireWithin(limit, sorting);
  const { nullIsGreatest } = dialectOf(dataSource).values;
  const rows = sortRows(await readKeys(sorting), keys, { collator, nullIsGreatest });
  return load(sorting, rows.slice(skip, take === undefined ? undefined : skip + take));
}

/** JavaScript callers may leave it out. */
function requireOrder(order: unknown): void {
  if (typeof order === 'object' && order !== null && Object.keys(order).length > 0) return;
  throw new ConfigurationError(
    "sorted() needs an order, such as { order: { lastName: 'ASC' } }. Without one, use find().",
  );
}

function requireCounts(counts: Record<string, number | undefined>): void {
  const wrong = Object.entries(counts).find(
    ([, count]) => count !== undefined && !(Number.isSafeInteger(count) && count >= 0),
  );
  if (wrong === undefined) return;
  throw new ConfigurationError(`"${wrong[0]}" of sorted() is a whole number from 0 on.`);
}

async function requireWithin<T extends ObjectLiteral>(
  limit: number,
  { manager, entity, metadata, keys, options: { where, withDeleted = false } }: Sorting<T>,
): Promise<void> {
  const count = await manager.count(entity, { ...(where && { where }), withDeleted });
  if (count <= limit) return;
  const { name } = metadata;
  const property = keys.find(({ encrypted }) => encrypted)?.column.propertyPath;
  throw new UnsupportedQueryError(
    `${name}: ${String(count)} rows would be read to sort them, the limit is ${String(limit)}. ` +
      'Narrow `where` by columns in clear or by a blind index, or raise `limit`.',
    { entity: name, ...(property !== undefined && { property }) },
  );
}

/** Reads primary keys, encrypted sort keys and ranks of all rows, in the order of the keys in clear. */
async function readKeys<T extends ObjectLiteral>({
  manager,
  entity,
  metadata: { primaryColumns },
  keys,
  options: { where, withDeleted = false },
}: Sorting<T>): Promise<ReadRow<T>[]> {
  const encrypted = keys.filter((key) => key.encrypted);
  const builder = manager
    .createQueryBuilder(entity, ALIAS)
    .setFindOptions({ ...(where && { where }), withDeleted, loadEagerRelations: false })
    .select([...primaryColumns, ...encrypted.map(({ column }) => column)].map(pathOf));
  const ranked = rankedKeys(keys);
  ranked.forEach(({ column }, i) => {
    builder.addSelect(`DENSE_RANK() OVER (ORDER BY ${pathOf(column)})`, rankOf(i));
  });
  for (const { column, encrypted, descending, nulls } of keys) {
    if (encrypted !== undefined) continue;
    const place =
      nulls === undefined ? undefined : (`NULLS ${nulls.toUpperCase()}` as 'NULLS FIRST');
    builder.addOrderBy(pathOf(column), descending ? 'DESC' : 'ASC', place);
  }
  for (const column of primaryColumns) builder.addOrderBy(pathOf(column), 'ASC');
  const { entities, raw } = await builder.getRawAndEntities<Record<string, unknown>>();
  for (const key of encrypted) await openKey(entities, key, manager.queryRunner);
  const rows = withoutRepeated(raw, primaryColumns);
  return entities.map((each, at) => ({
    entity: each,
    ranks: new Map(ranked.map((key, i) => [key, rows[at]?.[rankOf(i)]])),
  }));
}

/** Puts plain values in the place of sealed ones, in entities that only serve to sort. */
async function openKey(
  entities: readonly ObjectLiteral[],
  { column, encrypted }: SortKey,
  queryRunner: QueryRunner | undefined,
): Promise<void> {
  if (encrypted?.isSealed !== true) return;
  const sealed = entities.flatMap((entity) => {
    const value: unknown = column.getEntityValue(entity);
    return value instanceof Sealed ? [{ entity, value }] : [];
  });
  const values = await openSealed(
    sealed.map(({ value }) => value),
    queryRunner,
  );
  sealed.forEach(({ entity }, i) => {
    column.setEntityValue(entity, values[i]);
  });
}

/** Returns the keys in clear before an encrypted one, which counts where their values are equal. */
function rankedKeys(keys: readonly SortKey[]): SortKey[] {
  const last = keys.findLastIndex(({ encrypted }) => encrypted !== undefined);
  return keys.slice(0, Math.max(last, 0)).filter(({ encrypted }) => encrypted === undefined);
}

function rankOf(position: number): string {
  return `rank_${String(position)}`;
}

/** Returns one raw row for each entity: a join repeats them, one after the other in this order. */
function withoutRepeated(
  raw: readonly Record<string, unknown>[],
  primaryColumns: readonly ColumnMetadata[],
): Record<string, unknown>[] {
  const names = primaryColumns.map((column) =>
    rawName(column.entityMetadata.connection.driver, ALIAS, column),
  );
  return raw.filter((row, i) =>
    names.some((name) => i === 0 || !isDeepStrictEqual(row[name], raw[i - 1]?.[name])),
  );
}

/** Loads entities in the order of their keys. Those that changed since, and no longer match, are left out. */
async function load<T extends ObjectLiteral>(
  sorting: Sorting<T>,
  rows: readonly T[],
): Promise<T[]> {
  const found = new Map<string, T>();
  const { metadata } = sorting;
  const idOf = (row: T): string => JSON.stringify(metadata.getEntityIdMap(row));
  for (const page of pagesOf(rows, LOADED_AT_ONCE)) {
    const ids = page.map((row) => metadata.getEntityIdMap(row));
    for (const each of await loader(sorting).andWhereInIds(ids).getMany()) {
      found.set(idOf(each), each);
    }
  }
  return rows.map((row) => found.get(idOf(row))).filter((each) => each !== undefined);
}

/** Returns a builder with the condition of the search: what it finds is compared with what it looked up. */
function loader<T extends ObjectLiteral>({
  manager,
  entity,
  metadata,
  options,
}: Sorting<T>): SelectQueryBuilder<T> {
  const find: FindManyOptions<T> = { ...options };
  // Rows that are chosen and put in order already.
  delete find.order;
  delete find.skip;
  delete find.take;
  const builder = manager.createQueryBuilder(entity, ALIAS).setFindOptions(find);
  if (find.select === undefined) return builder;
  return builder.addSelect(metadata.primaryColumns.map(pathOf));
}

function pathOf({ propertyPath }: ColumnMetadata): string {
  return `${ALIAS}.${propertyPath}`;
}
