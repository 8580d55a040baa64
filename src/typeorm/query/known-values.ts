import type { EntityMetadata, ObjectLiteral } from 'typeorm';
import { DriverUtils } from 'typeorm/driver/DriverUtils.js';
import type { FieldValue, ValueType } from '../../encoding/value-codec';
import { FieldEncryptionError } from '../../errors';
import type { EncryptedColumn } from '../encrypted-column';
import { isWorthRemembering, recall, remember } from '../loaded-values';
import { KnownValue, markStandIns } from '../stand-in';
import type { Expressions } from './any-query-builder';
import type { RawResult, Row, SelectedColumn } from './raw-result';
import { usableKeys } from './usable-keys';

/** Who loads more at once rarely saves it: that is not remembered, and not kept in memory. */
const MOST_ROWS = 1000;
/** What nobody who holds the entity can change without replacing it. */
const IMMUTABLE: ReadonlySet<ValueType> = new Set(['string', 'number', 'bigint', 'boolean']);

/** Results whose entities are to be remembered, with the columns. */
const toRemember = new WeakMap<readonly Row[], readonly SelectedColumn[]>();

/**
 * Puts what is remembered in the place of the same ciphertexts, in rows that are read for a save. Not
 * where a key may no longer be used: that is for the decryption to say.
 */
export function placeKnownValues(result: RawResult, prefixes: ReadonlySet<string>): void {
  const { rows, expressions, installation, queryRunner } = result;
  const main = onlyEntity(expressions);
  const recalled = main && recall(queryRunner, main.metadata);
  if (main === undefined || recalled === undefined) return;
  if (usableKeys(prefixes, installation.keys) === undefined) return;
  const { driver } = installation.dataSource;
  const primaryKey = main.metadata.primaryColumns.map(({ databaseName }) =>
    DriverUtils.buildAlias(driver, undefined, main.name, databaseName),
  );
  const columns = rememberable(result);
  for (const [key] of columns) markStandIns(rows, key);
  for (const row of rows) {
    const known = recalled(primaryKey.map((key) => row[key])) ?? [];
    for (const [key, encrypted] of columns) {
      const value = known.find(({ column }) => column === encrypted.column);
      if (value !== undefined && value.stored === row[key]) row[key] = value;
    }
  }
}

/** Decrypts the rows of entities that are to be remembered, ahead of the hydration. */
export function decryptToRemember(result: RawResult): void {
  const { rows, expressions, queryRunner } = result;
  const main = onlyEntity(expressions);
  if (main === undefined || rows.length === 0 || rows.length > MOST_ROWS) return;
  if (!isWorthRemembering(main.metadata, queryRunner)) return;
  const columns = rememberable(result);
  toRemember.set(rows, columns);
  for (const [key, encrypted] of columns) {
    markStandIns(rows, key);
    decryptColumn(rows, key, encrypted);
  }
}

/** Remembers what was decrypted of the rows, with the entities that were made of them. */
export function rememberEntities(rows: readonly Row[], entities: readonly ObjectLiteral[]): void {
  const columns = toRemember.get(rows);
  // Otherwise two rows became one entity, and which one is not known.
  if (columns === undefined || rows.length !== entities.length) return;
  for (const [i, row] of rows.entries()) {
    const values: KnownValue[] = [];
    for (const [key] of columns) {
      const value = row[key];
      if (value instanceof KnownValue) values.push(value);
    }
    const entity = entities[i];
    if (entity !== undefined && values.length > 0) remember(entity, values);
  }
}

/** Decrypts a column of raw rows. What does not decrypt is left, for the hydration to say what is wrong with it. */
function decryptColumn(rows: readonly Row[], key: string, encrypted: EncryptedColumn): void {
  for (const row of rows) {
    const stored = row[key];
    if (typeof stored !== 'string') continue;
    const value = decrypted(encrypted, stored);
    if (value !== undefined) row[key] = new KnownValue(encrypted.column, stored, value);
  }
}

/** Whether a column holds ciphertext as text, and nothing else. */
export function holdsOnlyOurText({
  policy,
  readsPlaintext,
  previousFormat,
}: EncryptedColumn): boolean {
  return policy.storage === 'text' && !readsPlaintext && previousFormat === undefined;
}

/** The entity of a query without joins, whose rows are one for each entity. */
function onlyEntity({
  mainAlias,
  joinAttributes,
}: Expressions): { name: string; metadata: EntityMetadata } | undefined {
  const isOnly = mainAlias?.hasMetadata === true && joinAttributes.length === 0;
  return isOnly ? mainAlias : undefined;
}

/** Whether a stand-in can take the place of the column's values. */
export function isRememberable(encrypted: EncryptedColumn): boolean {
  return holdsOnlyOurText(encrypted) && IMMUTABLE.has(encrypted.policy.type);
}

function rememberable({ columns }: RawResult): SelectedColumn[] {
  return columns.filter(([, encrypted]) => isRememberable(encrypted));
}

function decrypted({ cipher }: EncryptedColumn, stored: string): FieldValue | undefined {
  try {
    return cipher.decrypt(stored);
  } catch (error) {
    if (error instanceof FieldEncryptionError) return undefined;
    throw error;
  }
}
