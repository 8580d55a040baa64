import type { ColumnOptions, DataSource, EntityMetadata } from 'typeorm';
import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';

import type { InvalidFieldPolicyError } from '../../errors';
import { blindIndexColumnOptions, encryptedColumnOptions } from '../declare/column-guard';
import type {
  BlindIndexColumnGuard,
  ColumnGuard,
  EncryptedColumnGuard,
} from '../declare/column-guard';
import { dialectOf } from '../dialect/dialect-of';

import { policyRefused } from './encrypted-column';
import type { EncryptedColumn } from './encrypted-column';
import { tablePlace } from './table-place';
import { uniqueRemedy } from './unique-with';

/** Throws the error of a property, with its name and what is wrong with it. */
export type Refusal = (problem: string) => never;

/** Options of other decorators, and why they are refused. */
export const REFUSED_OPTIONS = {
  default:
    'a database default would be stored in clear. Set the default in the class: `property = value`',
  unique: 'two ciphertexts of one value never collide. Use @BlindIndex({ unique: true })',
  primary: 'a primary key cannot be encrypted. Encrypt another property',
  transformer: 'the value is encrypted by the driver codec. Convert the value in the entity',
} as const;

/** Options that make the database or TypeORM compute the value, or that change the column's kind or how it compares, by their metadata. */
const FOREIGN_OPTIONS = {
  isVersion: 'version',
  isCreateDate: 'createDate',
  isUpdateDate: 'updateDate',
  isDeleteDate: 'deleteDate',
  isTreeLevel: 'treeLevel',
  isObjectId: 'objectId',
  isVirtualProperty: 'virtualProperty',
  isArray: 'array',
  asExpression: 'asExpression',
  onUpdate: 'onUpdate',
  enum: 'enum',
  charset: 'charset',
  collation: 'collation',
} as const satisfies Partial<Record<keyof ColumnMetadata, string>>;

/** Refuses changes to the options of `encryptedColumn()`, as in `{ ...encryptedColumn(), length: 20 }`. */
export function checkColumnDeclared(
  column: ColumnMetadata,
  guard: EncryptedColumnGuard,
  refuse: Refusal,
): void {
  const option = changedOption(column, guard, encryptedColumnOptions(guard));
  if (option === undefined) return;
  if (option === 'transformer' || option === 'default') {
    refuse(`option "${option}" is refused: ${REFUSED_OPTIONS[option]}.`);
  }
  const remedy =
    option === 'length' || option === 'type' ? 'Pass it to encryptedColumn(), or take' : 'Take';
  refuse(`option "${option}" stands beside what encryptedColumn() gave. ${remedy} it away.`);
}

/** Refuses changes to the options of `blindIndexColumns()`, and anything else that would compute the column. */
export function checkIndexDeclared(
  column: ColumnMetadata,
  guard: BlindIndexColumnGuard,
  refuse: Refusal,
): void {
  const option =
    constraintOption(column) ?? changedOption(column, guard, blindIndexColumnOptions(guard));
  if (option === undefined) return;
  const remedy = option === 'unique' ? 'Pass it to blindIndexColumns(), or take' : 'Take';
  refuse(
    `option "${option}" of its index column "${column.propertyName}" stands beside what blindIndexColumns() gave. ` +
      `${remedy} it away.`,
  );
}

function changedOption(
  column: ColumnMetadata,
  guard: ColumnGuard,
  declared: ColumnOptions,
): string | undefined {
  if (column.transformer !== guard) return 'transformer';
  for (const [name, option] of Object.entries(FOREIGN_OPTIONS)) {
    const value = column[name as keyof typeof FOREIGN_OPTIONS];
    if (value !== undefined && value !== false) return option;
  }
  if (column.default !== undefined) return 'default';
  if (column.type !== declared.type) return 'type';
  return column.length === String(declared.length ?? '') ? undefined : 'length';
}

function constraintOption(column: ColumnMetadata): string | undefined {
  if (column.isPrimary) return 'primary';
  if (column.isGenerated) return 'generated';
  const alone = column.entityMetadata.uniques.some(
    ({ columns }) => columns.length === 1 && columns[0] === column,
  );
  return alone ? 'unique' : undefined;
}

/** Refuses to encrypt a key, a generated value, or a column with a constraint or an index. */
export function checkPlace(column: ColumnMetadata, refuse: Refusal): void {
  const { entityMetadata: metadata } = column;
  if (column.isPrimary) refuse('a primary key cannot be encrypted. Encrypt another property.');
  if (column.isGenerated) {
    refuse(
      'a generated value would be stored in clear. Take @Generated away and set the value in the class.',
    );
  }
  if (
    column.relationMetadata !== undefined ||
    column.referencedColumn !== undefined ||
    metadata.foreignKeys.some(({ columns }) => columns.includes(column)) ||
    metadata.connection.entityMetadatas.some((other) => refersTo(other, column))
  ) {
    refuse('a foreign key cannot be encrypted, nor what one refers to. Relate by another column.');
  }
  const unique = [...metadata.uniques, ...metadata.indices.filter(({ isUnique }) => isUnique)].find(
    ({ columns }) => columns.includes(column),
  );
  if (unique !== undefined) {
    refuse(
      'a unique constraint or index on it would keep nothing unique, since two ciphertexts of one value differ. ' +
        `Use ${uniqueRemedy(unique.columns)} instead.`,
    );
  }
  if (metadata.indices.some(({ columns }) => columns.includes(column))) {
    refuse('an index on ciphertext finds nothing. Use @BlindIndex.');
  }
}

function refersTo({ columns, foreignKeys }: EntityMetadata, column: ColumnMetadata): boolean {
  return (
    columns.some(({ referencedColumn }) => referencedColumn === column) ||
    foreignKeys.some(({ referencedColumns }) => referencedColumns.includes(column))
  );
}

/**
 * Refuses entities that map an encrypted column or an index column of another entity as an ordinary one, and
 * would store cleartext in it; and those that encrypt it under another id, as neither could read the
 * other's values.
 */
export function assertNoneStoredByOthers(
  dataSource: DataSource,
  encrypted: ReadonlyMap<ColumnMetadata, EncryptedColumn>,
): void {
  const byPlace = new Map<string, EncryptedColumn>();
  for (const each of encrypted.values()) {
    const place = placeOf(dataSource, each.column.entityMetadata, each.column);
    const first = byPlace.get(place) ?? each;
    if (first.policy.fieldId !== each.policy.fieldId) throw otherId(first, each);
    byPlace.set(place, first);
  }
  const indexes = [...encrypted.values()].flatMap((each) =>
    each.indexes.map(({ column }) => ({ column, of: each })),
  );
  const tokensByPlace = new Map(
    indexes.map(({ column, of }) => [placeOf(dataSource, column.entityMetadata, column), of]),
  );
  // With single-table inheritance the classes share the column objects of their parent.
  const known = new Set([...encrypted.keys(), ...indexes.map(({ column }) => column)]);
  for (const metadata of dataSource.entityMetadatas) {
    if (metadata.tableType === 'view') continue;
    for (const column of metadata.columns) {
      if (known.has(column) || !(column.isInsert || column.isUpdate)) continue;
      const place = placeOf(dataSource, metadata, column);
      const stored = byPlace.get(place);
      if (stored !== undefined) throw storedInClear(stored, metadata, column);
      const token = tokensByPlace.get(place);
      if (token !== undefined) throw writtenToken(token, metadata, column);
    }
  }
}

function placeOf(
  dataSource: DataSource,
  { tablePath }: EntityMetadata,
  { databaseName }: ColumnMetadata,
): string {
  const name = dialectOf(dataSource).names.columnPlace(databaseName);
  return JSON.stringify([tablePlace(dataSource, tablePath), name]);
}

/** Returns the error of an entity that maps an encrypted column as an ordinary one. */
export function storedInClear(
  { column, policy }: EncryptedColumn,
  metadata: EntityMetadata,
  { propertyPath }: ColumnMetadata,
): InvalidFieldPolicyError {
  return policyRefused(
    policy,
    `the entity ${metadata.name} has the same column "${column.databaseName}" of the table ` +
      `"${metadata.tablePath}" for an ordinary one, and would store cleartext in it. Put @Encrypted({ id: '${policy.fieldId}' }) on ` +
      `${metadata.name}.${propertyPath}, take it away, or have it read only, with insert: false and update: false.`,
  );
}

function writtenToken(
  { policy }: EncryptedColumn,
  metadata: EntityMetadata,
  { propertyPath, databaseName }: ColumnMetadata,
): InvalidFieldPolicyError {
  return policyRefused(
    policy,
    `the entity ${metadata.name} has its index column "${databaseName}" for an ordinary one, ` +
      `and would store what is no token. Take ${metadata.name}.${propertyPath} away, or have it read only, with insert: false and update: false.`,
  );
}

function otherId(
  { column, policy: first }: EncryptedColumn,
  { policy }: EncryptedColumn,
): InvalidFieldPolicyError {
  return policyRefused(
    policy,
    `${first.entity}.${first.property} encrypts the same column "${column.databaseName}" of the table ` +
      `"${column.entityMetadata.tablePath}" under another id, and neither could read what the other writes. ` +
      `Give both @Encrypted({ id: '${first.fieldId}' }).`,
  );
}
