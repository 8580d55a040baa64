import type { EntityMetadata, QueryRunner } from 'typeorm';
import { FieldEncryptionError } from '../../errors';
import type { EncryptedEntity } from '../encrypted-column';
import { installationOf } from '../installation';
import type { AnyQueryBuilder } from './any-query-builder';
import { withResolvedParameters } from './predicate';
import { UniqueWrite } from './unique-write';

/** A write, and where it is told of the {@link UniqueWrite} that its statement goes through. */
interface Write<T> {
  readonly run: () => Promise<T>;
  readonly watch: (unique: UniqueWrite | undefined) => void;
}

type WriteBuilder = AnyQueryBuilder & {
  setQueryRunner(queryRunner: QueryRunner | undefined): unknown;
};

/**
 * Waits for nothing where the keys are ready and no unique index is involved, as for most writes.
 * Keys that cannot be had are no reason to fail here: a value that needs one says so by name, and a
 * write may have none.
 */
export function prepareWrite<T>(
  builder: WriteBuilder,
  queryRunner: QueryRunner | undefined,
  write: Write<T>,
): Promise<T> {
  const entity = encryptedEntityOf(builder);
  const preparing = entity && installationOf(builder.connection).prepareWrite(entity, queryRunner);
  const run = (): Promise<T> =>
    entity !== undefined && UniqueWrite.isNeeded(entity)
      ? runUnique(builder, entity, queryRunner, write)
      : withResolvedParameters(builder, installationOf(builder.connection), queryRunner, write.run);
  if (preparing === undefined) return run();
  return preparing.then(run, (failure: unknown) => {
    if (!(failure instanceof FieldEncryptionError)) throw failure;
    return run();
  });
}

async function runUnique<T>(
  builder: WriteBuilder,
  entity: EncryptedEntity,
  queryRunner: QueryRunner | undefined,
  { run, watch }: Write<T>,
): Promise<T> {
  const unique = new UniqueWrite(installationOf(builder.connection), entity);
  return unique.run(queryRunner, async (watched) => {
    watch(unique);
    builder.setQueryRunner(watched);
    try {
      return await withResolvedParameters(
        builder,
        installationOf(builder.connection),
        watched,
        run,
      );
    } finally {
      builder.setQueryRunner(queryRunner);
      watch(undefined);
    }
  });
}

/** The encrypted entity that a statement is about. */
export function encryptedEntityOf(builder: AnyQueryBuilder): EncryptedEntity | undefined {
  const metadata = mainMetadata(builder);
  return metadata && installationOf(builder.connection).encryptedEntity(metadata);
}

function mainMetadata(builder: AnyQueryBuilder): EntityMetadata | undefined {
  const { mainAlias } = builder.expressionMap;
  return mainAlias?.hasMetadata === true ? mainAlias.metadata : undefined;
}
