import type { EntityMetadata, QueryRunner } from 'typeorm';
import { TableCheck } from 'typeorm';
import { Query } from 'typeorm/driver/Query.js';
import type { SchemaBuilder } from 'typeorm/schema-builder/SchemaBuilder.js';

import type { CheckConstraints } from '../dialect/check-constraints';
import { dialectOf } from '../dialect/dialect-of';
import { escapedTable } from '../dialect/escaped-table';
import type { Installation } from '../installation/installation';
import { ciphertextCheck, otherCiphertextCheck } from '../metadata/ciphertext-check';

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
  for (const metadata of columns.byEntity.keys()) {
    if (!metadata.synchronize || metadata.tableType === 'entity-child') continue;
    const stored = await checks.of(queryRunner, metadata);
    const wanted = metadata.checks.map((check) => TableCheck.create(check));
    const own = ownNames(metadata, installation);
    const changed = (which === 'missing' ? without(wanted, stored) : without(stored, wanted))
      // TypeORM leaves out those of the application.
      .filter(({ name }) => own.has(name));
    for (const check of changed) {
      const alter = `ALTER TABLE ${escapedTable(dataSource, metadata)}`;
      const add = new Query(`${alter} ${checks.add(check)}`);
      const drop = new Query(`${alter} ${checks.drop(check)}`);
      await (which === 'missing'
        ? queryRunner.executeQueries(add, drop)
        : queryRunner.executeQueries(drop, add));
    }
  }
}

function ownNames(metadata: EntityMetadata, { dataSource, columns }: Installation): Set<unknown> {
  const encrypted = columns.byEntity.get(metadata)?.columns ?? [];
  return new Set(
    encrypted.flatMap(({ column, policy }) =>
      [ciphertextCheck, otherCiphertextCheck].map((of) => of(column, policy, dataSource).name),
    ),
  );
}

function without(checks: readonly TableCheck[], others: readonly TableCheck[]): TableCheck[] {
  return checks.filter((check) => !others.some(({ name }) => name === check.name));
}
