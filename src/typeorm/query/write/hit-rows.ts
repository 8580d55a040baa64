import { UpdateResult } from 'typeorm';
import type { ObjectLiteral, QueryRunner } from 'typeorm';
import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';

import { withConnection } from '../../connection/lent-connection';
import { ownTransaction } from '../../connection/own-transaction';
import { dropAdded } from '../../connection/table-access';
import { dialectOf } from '../../dialect/dialect-of';
import { escapedTable } from '../../dialect/escaped-table';
import { installationOf } from '../../installation/installations';
import { queryRefused } from '../../metadata/encrypted-column';
import type { EncryptedColumn } from '../../metadata/encrypted-column';
import type { AnyQueryBuilder } from '../any-query-builder';
import { withResolvedParameters } from '../lookup/resolved-parameters';
import { UpdateTargets } from '../unique/token-rows';

import { encryptedEntityOf, prepareWrite } from './prepared-write';
import type { WriteBuilder } from './prepared-write';
import { restrictTo } from './restricted-rows';
import { noteHitRow, UpdatedRows } from './updated-row';
import { requireUseOfWritten, writtenRows } from './written-values';

/** The encrypted columns that an UPDATE writes, by the columns of their scopes, which its criteria leave open. */
type OpenScopes = ReadonlyMap<ColumnMetadata, EncryptedColumn>;

/**
 * {@link prepareWrite} for an UPDATE: if its criteria leave the scope of its rows open, these are read and locked
 * in the same transaction.
 *
 * @throws {@link UnsupportedQueryError} for rows of several scopes
 */
export function prepareUpdate(
  builder: WriteBuilder,
  queryRunner: QueryRunner | undefined,
  update: () => Promise<UpdateResult>,
): Promise<UpdateResult> {
  const open = openScopes(builder);
  if (open.size === 0) return prepareWrite(builder, queryRunner, update);
  return updateOpen(builder, open, queryRunner, update);
}

async function updateOpen(
  builder: WriteBuilder,
  open: OpenScopes,
  queryRunner: QueryRunner | undefined,
  update: () => Promise<UpdateResult>,
): Promise<UpdateResult> {
  const installation = installationOf(builder.connection);
  const entity = encryptedEntityOf(builder);
  if (entity !== undefined) requireUseOfWritten(installation, entity, writtenRows(builder));
  // Before the transaction, in which another connection might be waited for in vain.
  await installation.recordAcrossScopes(queryRunner);
  return withScopeOfHitRows(builder, open, queryRunner, async (runner) => {
    builder.setQueryRunner(runner);
    try {
      return await prepareWrite(builder, runner, update);
    } finally {
      builder.setQueryRunner(queryRunner);
    }
  });
}

const NONE: OpenScopes = new Map();

/** Returns the scopes that the criteria leave open, if they leave nothing else open that values are bound to. */
function openScopes(builder: AnyQueryBuilder): OpenScopes {
  const entity = encryptedEntityOf(builder);
  const { mainAlias, valuesSet } = builder.expressionMap;
  if (entity === undefined || entity.scopes.length === 0 || mainAlias === undefined) return NONE;
  const open = new Map<ColumnMetadata, EncryptedColumn>();
  const rows = new UpdatedRows(builder, mainAlias.metadata);
  for (const encrypted of entity.columns) {
    const { binding, column, scope } = encrypted;
    const value: unknown = column.getEntityValue(valuesSet ?? {});
    if (scope?.column === undefined || value === null || value === undefined) continue;
    const left = binding?.columns.filter((each) => rows.value(each) === undefined) ?? [];
    if (left.length > 0 && left.every((each) => each === scope.column)) {
      open.set(scope.column, encrypted);
    }
  }
  return open;
}

/** Runs an UPDATE with the scope of the rows that it hits. */
function withScopeOfHitRows(
  builder: AnyQueryBuilder,
  open: OpenScopes,
  heldRunner: QueryRunner | undefined,
  update: (runner: QueryRunner) => Promise<UpdateResult>,
): Promise<UpdateResult> {
  const installation = installationOf(builder.connection);
  const work = (runner: QueryRunner): Promise<UpdateResult> =>
    withResolvedParameters(builder, installation, runner, async () => {
      const hit = await hitRow(builder, open, runner);
      if (hit === undefined) return noneHit();
      const forget = noteHitRow(builder, hit);
      const { parameters } = builder.expressionMap;
      // Rows that others commit meanwhile are kept out.
      const restore = restrictTo(builder, hit, 'fieldEncryptionScope');
      try {
        return await update(runner);
      } catch (error) {
        dropAdded(error, [...hit.values()]);
        throw error;
      } finally {
        forget();
        restore();
        builder.expressionMap.parameters = parameters;
      }
    });
  return withConnection(installation.dataSource, heldRunner, (runner) =>
    runner.isTransactionActive
      ? work(runner)
      : ownTransaction(runner, {
          work,
          isDone: () => true,
          inTransaction: () => work(runner),
        }),
  );
}

/** Returns what the rows have in the open columns; undefined if there are none. */
async function hitRow(
  builder: AnyQueryBuilder,
  open: OpenScopes,
  runner: QueryRunner,
): Promise<ReadonlyMap<ColumnMetadata, unknown> | undefined> {
  const { connection } = builder;
  const columns = [...open.keys()];
  const names = columns.map((_, i) => `c${String(i)}`);
  const [column] = columns;
  if (column === undefined) return undefined;
  const { sql, parameters } = new UpdateTargets(builder).select(
    escapedTable(connection, column.entityMetadata),
    columns.map(
      ({ databaseName }, i) => `${connection.driver.escape(databaseName)} AS ${String(names[i])}`,
    ),
  );
  const { exactly, lockRows } = dialectOf(connection).sql;
  const exact = exactly === undefined ? [] : names.map((name) => exactly(name));
  const [row, ...others] = (await runner.query(
    `SELECT DISTINCT ${[...names, ...exact].join(', ')} FROM (${sql}${lockRows}) hit LIMIT 2`,
    parameters.values,
  )) as ObjectLiteral[];
  if (others.length > 0) throw hitsSeveral(open);
  return row && new Map(columns.map((each, i) => [each, row[String(names[i])] as unknown]));
}

function noneHit(): UpdateResult {
  return Object.assign(new UpdateResult(), { raw: [], affected: 0, generatedMaps: [] });
}

function hitsSeveral(open: OpenScopes): Error {
  const [[column, encrypted] = []] = open;
  if (column === undefined || encrypted === undefined) throw new TypeError('no scope is open');
  const kind = String(encrypted.scope?.kind);
  return queryRefused(
    encrypted,
    `has keys for each ${kind}, and the update hits rows of several. Update those of one ${kind} at a time, by ` +
      `criteria with ${column.propertyPath}.`,
  );
}
