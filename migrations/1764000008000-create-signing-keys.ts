import type { MigrationInterface, QueryRunner, TableOptions } from 'typeorm';

import {
  countRows,
  createUnlessPresent,
  dropTable,
  refusedRevert,
  tableName,
  text,
} from './own-table';

const SIGNING_KEYS = 'field_encryption_signing_keys';

/** Creates the table of the public halves of signing keys, with the signatures by which versions vouch for each other. */
export class CreateSigningKeys1764000008000 implements MigrationInterface {
  readonly name = 'CreateSigningKeys1764000008000';

  async up(queryRunner: QueryRunner): Promise<void> {
    await createUnlessPresent(queryRunner, signingKeys(tableName(queryRunner, SIGNING_KEYS)));
  }

  /** Refuses while there are keys: without their signatures, nobody knows that one follows another. */
  async down(queryRunner: QueryRunner): Promise<void> {
    const name = tableName(queryRunner, SIGNING_KEYS);
    const keys = await countRows(queryRunner, name);
    if (keys > 0) {
      throw refusedRevert(
        queryRunner,
        `${SIGNING_KEYS} holds ${String(keys)} public keys, without which signatures by destroyed ones cannot be verified.`,
      );
    }
    await dropTable(queryRunner, name);
  }
}

function signingKeys(name: string): TableOptions {
  return {
    name,
    columns: [
      {
        ...text('key_id', 16),
        isPrimary: true,
        primaryKeyConstraintName: 'field_encryption_signing_keys_pkey',
      },
      text('name', 64),
      { name: 'version', type: 'integer' },
      text('public_key', 64),
      text('signed_by_previous', 128),
      text('signs_previous', 128),
    ],
  };
}
