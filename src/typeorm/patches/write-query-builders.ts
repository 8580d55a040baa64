import { DeleteQueryBuilder, InsertQueryBuilder, UpdateQueryBuilder } from 'typeorm';
import type { DeleteResult, InsertResult, ObjectLiteral, UpdateResult } from 'typeorm';
import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';
import { SoftDeleteQueryBuilder } from 'typeorm/query-builder/SoftDeleteQueryBuilder.js';

import { installationOf } from '../installation/installations';
import { queryRefused } from '../metadata/encrypted-column';
import type { EncryptedEntity } from '../metadata/encrypted-column';
import { sqlExpressionRefused } from '../metadata/index-columns';
import type { AnyQueryBuilder } from '../query/any-query-builder';
import { inAlternative } from '../query/lookup/condition-row';
import { withResolvedParameters } from '../query/lookup/resolved-parameters';
import { assertMappedTable } from '../query/refusal/mapped-table';
import { assertNoRawUse } from '../query/refusal/statement-check';
import {
  guardBoundRows,
  ignoreDuplicatesOnly,
  readNoRowsLeftAlone,
} from '../query/write/conflicting-rows';
import {
  assertNoExplicitTokens,
  columnsWithIndexes,
  withIndexColumns,
} from '../query/write/index-values';
import { prepareUpdate } from '../query/write/hit-rows';
import { assertOmittedKept } from '../query/write/omitted-values';
import { overwriteOnConflict } from '../query/write/overwrite-on-conflict';
import { encryptedEntityOf, prepareWrite, uniqueWriteOf } from '../query/write/prepared-write';
import { tellOfReturned } from '../query/write/returned-values';
import { guardScopes } from '../query/write/scope-guard';
import { writingUpdatedRows } from '../query/write/updated-row';
import { assertBoundColumnsInserted, writingInsertedRow } from '../query/write/written-row';
import { noteWritten } from '../query/write/written-values';

import { overrideClass } from './override';

/** TypeORM's InsertQueryBuilder that prepares the keys before values are encrypted. */
class EncryptingInsertQueryBuilder<
  Entity extends ObjectLiteral,
> extends InsertQueryBuilder<Entity> {
  override execute(): Promise<InsertResult> {
    if (encryptedEntityOf(this) !== undefined) readNoRowsLeftAlone(this);
    return prepareWrite(this, this.queryRunner, () => super.execute());
  }

  override getQueryAndParameters(): [string, unknown[]] {
    const entity = encryptedEntityOf(this);
    if (entity !== undefined && !isFromSelect(this)) noteWritten(this, entity);
    const [sql, parameters] = super.getQueryAndParameters() as [string, unknown[]];
    uniqueWriteOf(this)?.announceInsert(
      parameters,
      isFromSelect(this) ? [] : this.getValueSets(),
      this.getInsertedColumns(),
    );
    return [sql, parameters];
  }

  override getQuery(): string {
    const entity = encryptedEntityOf(this);
    if (entity !== undefined && isFromSelect(this)) refuseCopyOfRows(this, entity);
    else if (entity !== undefined) {
      for (const values of this.getValueSets()) {
        refuseSqlExpressions(entity, values);
        assertNoExplicitTokens(entity, values);
      }
      assertBoundColumnsInserted(entity, this.getInsertedColumns());
      assertOmittedKept(this, entity, installationOf(this.connection).options);
    }
    return checked(this, () => {
      const sql = super.getQuery();
      if (entity === undefined) return sql;
      const guarded = guardScopes(this, entity, () => this.getValueSets(), sql);
      return ignoreDuplicatesOnly(this, entity, guardBoundRows(this, entity, guarded));
    });
  }

  override orUpdate(overwrite?: unknown, conflict?: unknown, options?: object): this {
    const entity = encryptedEntityOf(this);
    const changed = entity && overwriteOnConflict(entity, { overwrite, conflict });
    return super.orUpdate(
      (changed?.overwrite ?? overwrite) as string[],
      (changed?.conflict ?? conflict) as string[],
      options,
    );
  }

  protected override createColumnValueExpression(
    valueSets: ObjectLiteral[],
    at: number,
    column: ColumnMetadata,
  ): string {
    const write = (): string => super.createColumnValueExpression(valueSets, at, column);
    const { isBound = false } = encryptedEntityOf(this) ?? {};
    return isBound ? writingInsertedRow(valueSets[at] ?? {}, write) : write();
  }

  /** Adds the index columns of the columns that `into(entity, columns)` names. */
  protected override getInsertedColumns(): ColumnMetadata[] {
    const columns = super.getInsertedColumns();
    if (this.expressionMap.insertColumns.length === 0) return columns;
    const entity = encryptedEntityOf(this);
    return entity === undefined ? columns : columnsWithIndexes(entity, columns);
  }
}

/** TypeORM's UpdateQueryBuilder that writes blind indexes along with their properties. */
class EncryptingUpdateQueryBuilder<
  Entity extends ObjectLiteral,
> extends UpdateQueryBuilder<Entity> {
  override execute(): Promise<UpdateResult> {
    return prepareUpdate(this, this.queryRunner, () => super.execute());
  }

  override orWhere(...args: Parameters<UpdateQueryBuilder<Entity>['orWhere']>): this {
    return inAlternative(this, () => super.orWhere(...args));
  }

  override getQueryAndParameters(): [string, unknown[]] {
    const entity = encryptedEntityOf(this);
    if (entity !== undefined) noteWritten(this, entity);
    const [sql, parameters] = super.getQueryAndParameters() as [string, unknown[]];
    uniqueWriteOf(this)?.announceUpdate(parameters, super.getValueSet(), this);
    return [sql, parameters];
  }

  override getQuery(): string {
    const entity = encryptedEntityOf(this);
    if (entity !== undefined) {
      const values = super.getValueSet();
      if (mayHoldSqlExpression(values)) refuseSqlExpressions(entity, values);
    }
    return checked(this, () =>
      writingUpdatedRows(
        this,
        entity,
        () => super.getValueSet(),
        () => {
          const sql = super.getQuery();
          return entity === undefined
            ? sql
            : guardScopes(this, entity, () => [super.getValueSet()], sql);
        },
      ),
    );
  }

  protected override getValueSet(): ObjectLiteral {
    const values = super.getValueSet();
    const entity = encryptedEntityOf(this);
    if (entity === undefined) return values;
    assertNoExplicitTokens(entity, values);
    return withIndexColumns(entity, values);
  }
}

/**
 * TypeORM's DeleteQueryBuilder and SoftDeleteQueryBuilder, whose criteria may name encrypted properties.
 * Returns a new class at each call, as each overrides the methods of one.
 */
function encryptingDeletion() {
  return class<Entity extends ObjectLiteral> extends DeleteQueryBuilder<Entity> {
    override execute(): Promise<DeleteResult> {
      const { connection, queryRunner } = this;
      const entity = encryptedEntityOf(this);
      const run = async (): Promise<DeleteResult> =>
        tellOfReturned(this, entity, await super.execute());
      return withResolvedParameters(this, installationOf(connection), queryRunner, run);
    }

    override orWhere(...args: Parameters<DeleteQueryBuilder<Entity>['orWhere']>): this {
      return inAlternative(this, () => super.orWhere(...args));
    }

    override getQuery(): string {
      return checked(this, () => super.getQuery());
    }
  };
}

/** Overrides the methods above in TypeORM's builders of writes. */
export function patchWriteQueryBuilders(): void {
  overrideClass(InsertQueryBuilder, EncryptingInsertQueryBuilder);
  overrideClass(UpdateQueryBuilder, EncryptingUpdateQueryBuilder);
  overrideClass(DeleteQueryBuilder, encryptingDeletion());
  overrideClass(SoftDeleteQueryBuilder, encryptingDeletion());
}

/** Builds a statement after the checks that all writes have to pass. */
function checked(builder: AnyQueryBuilder, build: () => string): string {
  const installation = installationOf(builder.connection);
  assertMappedTable(builder, installation);
  assertNoRawUse(builder.expressionMap, installation);
  return installation.checked.add(build());
}

/** Goes by enumerable values, as TypeORM does in an UPDATE, save within embedded objects. */
function mayHoldSqlExpression(values: ObjectLiteral): boolean {
  for (const name in values) {
    const value: unknown = values[name];
    if (typeof value === 'function' || (typeof value === 'object' && value !== null)) return true;
  }
  return false;
}

function refuseSqlExpressions(entity: EncryptedEntity, values: ObjectLiteral): void {
  for (const { column } of entity.columns) {
    if (typeof column.getEntityValue(values) === 'function') throw sqlExpressionRefused(column);
  }
}

/** Whether this is INSERT … SELECT, which TypeORM has since 1.0. */
function isFromSelect({ expressionMap }: AnyQueryBuilder): boolean {
  const { insertFromSelect } = expressionMap as object as { insertFromSelect?: unknown };
  return insertFromSelect !== undefined;
}

function refuseCopyOfRows(builder: AnyQueryBuilder, entity: EncryptedEntity): void {
  const { insertColumns } = builder.expressionMap;
  const target = entity.columns.find(
    ({ column }) =>
      insertColumns.length === 0 ||
      insertColumns.includes(column.propertyPath) ||
      insertColumns.includes(column.databaseName),
  );
  if (target === undefined) return;
  throw queryRefused(
    target,
    'is encrypted and cannot be filled by INSERT … SELECT, which moves values inside the database. ' +
      'Read the rows and insert them.',
  );
}
