import type { EntityMetadata, QueryRunner } from 'typeorm';

import { FieldEncryptionError } from '../../../errors';
import { installationOf } from '../../installation/installations';
import type { EncryptedEntity } from '../../metadata/encrypted-column';
import type { AnyQueryBuilder } from '../any-query-builder';
import { withResolvedParameters } from '../lookup/resolved-parameters';
import { UniqueWrite } from '../unique/unique-write';

import { assertOmittedKept } from './omitted-values';
import { tellOfReturned } from './returned-values';
import { rethrowGuarded } from './scope-guard';
import { scopesOfStatement } from './written-scopes';
import { requireUseOfWritten, writtenRows } from './written-values';

export type WriteBuilder = AnyQueryBuilder & {
  setQueryRunner(queryRunner: QueryRunner | undefined): unknown;
};

/** The writes of builders. Not fields of these, which few would fill. */
const uniqueWrites = new WeakMap<AnyQueryBuilder, UniqueWrite>();

/** Returns the write to which a builder announces its statement, once it is built. */
export function uniqueWriteOf(builder: AnyQueryBuilder): UniqueWrite | undefined {
  return uniqueWrites.get(builder);
}

/**
 * Prepares the keys of a write and runs it. Waits for nothing if the keys are ready and no unique index is
 * involved, as for most writes. Missing keys do not fail here: a value that needs one reports its property,
 * and a write may have no such value.
 */
export function prepareWrite<T>(
  builder: WriteBuilder,
  queryRunner: QueryRunner | undefined,
  write: () => Promise<T>,
): Promise<T> {
  const installation = installationOf(builder.connection);
  const entity = encryptedEntityOf(builder);
  let preparing: Promise<void> | undefined;
  try {
    if (entity !== undefined) requireUseOfWritten(installation, entity, writtenRows(builder));
    preparing = entity && preparation(builder, entity, queryRunner);
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    // The actor may not, the statement is refused, or the scope of a row is not known. Callers expect a promise.
    return Promise.reject(error);
  }
  const guarded = (): Promise<T> =>
    write().then(
      (result) => tellOfReturned(builder, entity, result),
      (error: unknown) => rethrowGuarded(builder, entity, error),
    );
  const run = (): Promise<T> =>
    entity !== undefined && UniqueWrite.isNeeded(entity)
      ? runUnique(builder, entity, queryRunner, guarded)
      : withResolvedParameters(builder, installation, queryRunner, guarded);
  return preparing === undefined ? run() : preparing.then(run);
}

/** Leaves a missing key to the value that needs it, which names its property; there may be none. */
export function leaveToValues(failure: unknown): void {
  if (!(failure instanceof FieldEncryptionError)) throw failure;
}

/**
 * Prepares the keys of a write, those of scopes after the common ones, which wrap them. Rejects where the audit log
 * refuses work across scopes.
 */
function preparation(
  builder: WriteBuilder,
  entity: EncryptedEntity,
  queryRunner: QueryRunner | undefined,
): Promise<void> | undefined {
  const installation = installationOf(builder.connection);
  assertOmittedKept(builder, entity, installation.options);
  const common = installation.prepareWrite(entity, queryRunner)?.catch(leaveToValues);
  const { scopes, index } = scopesOfStatement(builder, entity);
  if (scopes.length === 0) return common;
  const ofScopes = (): Promise<void> | undefined =>
    installation.prepareScopes(scopes, { index }, queryRunner)?.catch(leaveToValues);
  const recorded = installation.recordAcrossScopes(queryRunner);
  if (recorded !== undefined) return recorded.then(() => common).then(ofScopes);
  return common === undefined ? ofScopes() : common.then(ofScopes);
}

async function runUnique<T>(
  builder: WriteBuilder,
  entity: EncryptedEntity,
  queryRunner: QueryRunner | undefined,
  write: () => Promise<T>,
): Promise<T> {
  const unique = new UniqueWrite(installationOf(builder.connection), entity);
  return unique.run(queryRunner, async (watched) => {
    uniqueWrites.set(builder, unique);
    builder.setQueryRunner(watched);
    try {
      return await withResolvedParameters(
        builder,
        installationOf(builder.connection),
        watched,
        write,
      );
    } finally {
      builder.setQueryRunner(queryRunner);
      uniqueWrites.delete(builder);
    }
  });
}

/** Returns the encrypted entity that a statement is about. */
export function encryptedEntityOf(builder: AnyQueryBuilder): EncryptedEntity | undefined {
  const metadata = mainMetadata(builder);
  return metadata && installationOf(builder.connection).encryptedEntity(metadata);
}

function mainMetadata(builder: AnyQueryBuilder): EntityMetadata | undefined {
  const { mainAlias } = builder.expressionMap;
  return mainAlias?.hasMetadata === true ? mainAlias.metadata : undefined;
}
