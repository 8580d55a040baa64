import type { DataSource, EntityMetadata, EntityTarget, ObjectLiteral } from 'typeorm';
import { fieldEncryption } from '../../src';
import type { EncryptedColumn } from '../../src/typeorm/metadata/encrypted-column';
import { quoted } from './sql-of';
import { installationOf } from '../../src/typeorm/installation/installations';

export type Row = Record<string, unknown>;

/** `0x01 ‖ key id ‖ nonce ‖ ciphertext ‖ tag`, at the very least 50 bytes: base64url of it begins so. */
const CIPHERTEXT = /^A[Q-Za-f][\w-]{64,}$/;

/** The table of an entity, quoted, with its schema if it has one. */
export function tableName({ connection, tablePath }: EntityMetadata): string {
  return tablePath
    .split('.')
    .map((part) => quoted(connection.options, part))
    .join('.');
}

/** The rows of an entity's table by primary key, as the database holds them. */
export async function rawRows(
  dataSource: DataSource,
  entity: EntityTarget<ObjectLiteral>,
): Promise<Row[]> {
  const metadata = dataSource.getMetadata(entity);
  const order = metadata.primaryColumns
    .map(({ databaseName }) => quoted(dataSource.options, databaseName))
    .join(', ');
  return dataSource.query(`SELECT * FROM ${tableName(metadata)} ORDER BY ${order}`);
}

/**
 * The plaintexts of an entity's encrypted properties, row by row in the order of the primary key.
 *
 * Fails unless every one of them is stored as a ciphertext of its column, or as NULL, and every
 * blind-index column holds the token of the plaintext beside it.
 */
export async function storedPlaintexts(
  dataSource: DataSource,
  entity: EntityTarget<ObjectLiteral>,
): Promise<Row[]> {
  const columns = installationOf(dataSource).encryptedEntity(
    dataSource.getMetadata(entity),
  )?.columns;
  if (columns === undefined) throw new Error('The entity has no encrypted column.');
  const plaintexts: Row[] = [];
  for (const row of await rawRows(dataSource, entity)) {
    const plaintext: Row = {};
    for (const encrypted of columns) {
      plaintext[encrypted.column.propertyPath] = await openStored(
        dataSource,
        entity,
        encrypted,
        row,
      );
    }
    plaintexts.push(plaintext);
  }
  return plaintexts;
}

async function openStored(
  dataSource: DataSource,
  entity: EntityTarget<ObjectLiteral>,
  { column, policy, indexes }: EncryptedColumn,
  row: Row,
): Promise<unknown> {
  const { propertyPath } = column;
  const stored = row[column.databaseName];
  if (stored !== null) expectCiphertext(stored, policy.storage);
  const plaintext = await fieldEncryption(dataSource).decryptValue(entity, propertyPath, stored);
  for (const { column: indexColumn, index } of indexes) {
    const token = plaintext === null ? null : index.token(plaintext);
    expect({ [indexColumn.databaseName]: row[indexColumn.databaseName] }).toEqual({
      [indexColumn.databaseName]: token,
    });
  }
  return plaintext;
}

/** Fails for anything but the stored form of a ciphertext. */
export function expectCiphertext(stored: unknown, storage: 'text' | 'binary' = 'text'): void {
  if (storage === 'text') {
    expect(stored).toMatch(CIPHERTEXT);
    return;
  }
  expect(Buffer.isBuffer(stored)).toBe(true);
  expect((stored as Buffer).toString('base64url')).toMatch(CIPHERTEXT);
}
