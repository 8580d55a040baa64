import { EntitySchema } from 'typeorm';
import type { DataSource, QueryRunner } from 'typeorm';

import { encodeBase64url } from '../../encoding/base64url';
import { ConfigurationError } from '../../errors';
import type { SigningKeyRow, SigningKeyStore } from '../../keys/signing/signing-key-store';
import { withOwnTables } from '../connection/table-access';
import { catalogOf } from '../dialect/dialect-of';

import { readBytes, readWholeNumber, StoredRow } from './stored-row';

/** A row of the table of public signing keys. Every column is text or a number, as in the key table. */
interface StoredSigningKey {
  keyId: string;
  name: string;
  version: number;
  /** base64url, like the signatures, which are empty where there is none */
  publicKey: string;
  signedByPrevious: string;
  signsPrevious: string;
}

/** Name of the migration in `fieldEncryptionMigrations` that creates the table. */
export const SIGNING_KEYS_MIGRATION = 'CreateSigningKeys1764000008000';

/** The table of public signing keys as TypeORM knows it. Must equal what the migration creates, as for the key table. */
export const SigningKeySchema = new EntitySchema<StoredSigningKey>({
  name: 'FieldEncryptionSigningKey',
  tableName: 'field_encryption_signing_keys',
  columns: {
    keyId: {
      ...{ type: 'varchar', length: 16, name: 'key_id', primary: true },
      primaryKeyConstraintName: 'field_encryption_signing_keys_pkey',
    },
    name: { type: 'varchar', length: 64, name: 'name' },
    version: { type: 'integer', name: 'version' },
    publicKey: { type: 'varchar', length: 64, name: 'public_key' },
    signedByPrevious: { type: 'varchar', length: 128, name: 'signed_by_previous' },
    signsPrevious: { type: 'varchar', length: 128, name: 'signs_previous' },
  },
});

/** The public signing keys of a DataSource, on its primary. */
export class TypeormSigningKeyStore implements SigningKeyStore<QueryRunner> {
  readonly #dataSource: DataSource;

  constructor(dataSource: DataSource) {
    this.#dataSource = dataSource;
  }

  async require(): Promise<void> {
    if (await withOwnTables(this.#dataSource, undefined, (runner) => this.#exists(runner))) return;
    throw new ConfigurationError(
      'the table of public signing keys does not exist in this database, and a key that signs is entered there. Run ' +
        `the migrations of fieldEncryptionMigrations (${SIGNING_KEYS_MIGRATION}) or \`field-encryption init\`.`,
    );
  }

  list(name: string): Promise<SigningKeyRow[]> {
    return withOwnTables(this.#dataSource, undefined, async (runner) => {
      if (!(await this.#exists(runner))) return [];
      const query = runner.manager.createQueryBuilder(SigningKeySchema, 'k', runner);
      query.where('k.name = :name', { name }).orderBy('k.version', 'ASC');
      const rows = await query.callListeners(false).cache(false).getMany();
      return rows.flatMap(rowOf);
    });
  }

  async insert(row: SigningKeyRow, connection: QueryRunner): Promise<void> {
    const { keyId, name, version } = row;
    const stored = {
      ...{ keyId, name, version },
      publicKey: encodeBase64url(row.publicKey),
      signedByPrevious: encodeBase64url(row.signedByPrevious),
      signsPrevious: encodeBase64url(row.signsPrevious),
    };
    const insert = connection.manager.createQueryBuilder().insert().into(SigningKeySchema);
    await insert.values(stored).callListeners(false).execute();
  }

  #exists(runner: QueryRunner): Promise<boolean> {
    const { tablePath } = this.#dataSource.getMetadata(SigningKeySchema);
    return catalogOf(runner).tableExists(runner, tablePath);
  }
}

/** Returns a row; none for one that this library cannot have written. */
function rowOf(row: StoredSigningKey): SigningKeyRow[] {
  const stored = new StoredRow(SigningKeySchema, row);
  const none = Buffer.alloc(0);
  const read = {
    keyId: stored.text('keyId'),
    name: stored.text('name'),
    version: stored.cell('version', readWholeNumber, 0),
    publicKey: stored.cell('publicKey', readBytes, none),
    signedByPrevious: stored.cell('signedByPrevious', readBytes, none),
    signsPrevious: stored.cell('signsPrevious', readBytes, none),
  };
  return stored.unreadable.length === 0 ? [read] : [];
}
