import type { DataSource, QueryRunner } from 'typeorm';
import { Query } from 'typeorm/driver/Query.js';
import type { CheckMetadata } from 'typeorm/metadata/CheckMetadata.js';
import type { SchemaBuilder } from 'typeorm/schema-builder/SchemaBuilder.js';

import type { CheckConstraints } from '../dialect/check-constraints';
import { dialectOf } from '../dialect/dialect-of';
import { escapedTable } from '../dialect/escaped-table';
import type { Installation } from '../installation/installation';
import { ciphertextCheck, otherCiphertextCheck } from '../metadata/ciphertext-check';
import type { EncryptedColumn } from '../metadata/encrypted-column';

import { override } from './override';

/** What is used of a schema builder of TypeORM; protected, but the same in both majors. */
interface CheckingBuilder {
  readonly queryRunner: RecordingRunner;
  /** Runs before columns change. */
  dropOldChecks(): Promise<void>;
  /** Runs when all tables and columns are there. */
  createNewChecks(): Promise<void>;
}

/** A query runner, which records statements instead of executing them for `migration:generate` and `schema:log`. */
interface RecordingRunner extends QueryRunner {
  executeQueries(up: Query, down: Query): Promise<void>;
}

/** Makes a schema builder drop and add the constraints of encrypted columns where TypeORM's own leaves them out. */
export function buildChecks(builder: SchemaBuilder, installation: Installation): void {
  const { checks } = dialectOf(installation.dataSource);
  if (checks === undefined) return;
  const steps = builder as unknown as CheckingBuilder;
  override(steps, 'dropOldChecks', (drop) => async () => {
    await drop();
    await changeChecks(steps, installation, checks, 'outdated');
  });
  override(steps, 'createNewChecks', (create) => async () => {
    await create();
    await changeChecks(steps, installation, checks, 'missing');
  });
}

async function changeChecks(
  { queryRunner }: CheckingBuilder,
  installation: Installation,
  checks: CheckConstraints,
  which: 'missing' | 'outdated',
): Promise<void> {
  const { dataSource, columns } = installation;
  for (const [metadata, { columns: encrypted }] of columns.byEntity) {
    if (!metadata.synchronize || ['entity-child', 'view'].includes(metadata.tableType)) continue;
    const stored = new Set((await checks.of(queryRunner, metadata)).map(({ name }) => name));
    const wanted = new Set(metadata.checks.map(({ name }) => name));
    const alter = `ALTER TABLE ${escapedTable(dataSource, metadata)}`;
    // TypeORM leaves out those of the application.
    for (const check of encrypted.flatMap((each) => possibleChecks(each, dataSource))) {
      const add = new Query(`${alter} ${checks.add(check)}`);
      const drop = new Query(`${alter} ${checks.drop(check)}`);
      if (stored.has(check.name) === wanted.has(check.name)) continue;
      if (which === 'missing' && wanted.has(check.name)) {
        await queryRunner.executeQueries(add, drop);
      }
      if (which === 'outdated' && stored.has(check.name)) {
        await queryRunner.executeQueries(drop, add);
      }
    }
  }
}

/** Returns the constraints that a column may have by any declaration of its property. */
function possibleChecks(
  { column, policy }: EncryptedColumn,
  dataSource: DataSource,
): CheckMetadata[] {
  return (['text', 'binary'] as const).flatMap((storage) =>
    [ciphertextCheck, otherCiphertextCheck].map((of) =>
      of(column, { ...policy, storage }, dataSource),
    ),
  );
}
