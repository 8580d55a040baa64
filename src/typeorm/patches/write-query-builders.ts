import { DeleteQueryBuilder, InsertQueryBuilder, UpdateQueryBuilder } from 'typeorm';
import type { DeleteResult, InsertResult, ObjectLiteral, UpdateResult } from 'typeorm';
import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';
import { SoftDeleteQueryBuilder } from 'typeorm/query-builder/SoftDeleteQueryBuilder.js';
import { UnsupportedQueryError } from '../../errors';
import type { EncryptedEntity } from '../metadata/encrypted-column';
import { describeColumn } from '../metadata/encrypted-column';
import { installationOf } from '../installation/installation';
import type { Installation } from '../installation/installation';
import { sqlExpressionRefused } from '../metadata/index-columns';
import type { AnyQueryBuilder } from '../query/any-query-builder';
import {
  assertNoExplicitTokens,
  columnsWithIndexes,
  withIndexColumns,
} from '../query/write/index-values';
import { overwriteOnConflict } from '../query/write/overwrite-on-conflict';
import { layOver } from './lay-over';
import { assertMappedTable, assertParametersFit } from '../query/refusal/mapped-table';
import { rewritePredicate } from '../query/lookup/predicate';
import { encryptedEntityOf, prepareWrite, uniqueWriteOf } from '../query/write/prepared-write';
import { withResolvedParameters } from '../query/lookup/resolved-parameters';
import { assertNoRawUse } from '../query/refusal/statement-check';
import { withStatementKeys } from '../query/lookup/statement-keys';

/** TypeORM's InsertQueryBuilder that has the keys ready before values are encrypted. */
class EncryptingInsertQueryBuilder<
  Entity extends ObjectLiteral,
> extends InsertQueryBuilder<Entity> {
  override execute(): Promise<InsertResult> {
    return prepareWrite(this, this.queryRunner, () => super.execute());
  }

  override getQueryAndParameters(): [string, unknown[]] {
    const [sql, parameters] = withStatementKeys(
      this,
      () => super.getQueryAndParameters() as [string, unknown[]],
    );
    assertParametersFit(this, parameters);
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
    }
    assertAllowed(this);
    return installation(this).checked.add(super.getQuery());
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

  /** `into(entity, columns)` names the columns to write: their index columns belong to them. */
  protected override getInsertedColumns(): ColumnMetadata[] {
    const columns = super.getInsertedColumns();
    if (this.expressionMap.insertColumns.length === 0) return columns;
    const entity = encryptedEntityOf(this);
    return entity === undefined ? columns : columnsWithIndexes(entity, columns);
  }

  protected override getWherePredicateCondition(aliasPath: string, parameterValue: unknown) {
    const predicate = rewritePredicate(this, [], installation(this), aliasPath, parameterValue);
    if ('sql' in predicate) return predicate.sql;
    return super.getWherePredicateCondition(predicate.path, predicate.value);
  }
}

/** TypeORM's UpdateQueryBuilder that writes blind indexes along with the properties they follow. */
class EncryptingUpdateQueryBuilder<
  Entity extends ObjectLiteral,
> extends UpdateQueryBuilder<Entity> {
  override execute(): Promise<UpdateResult> {
    return prepareWrite(this, this.queryRunner, () => super.execute());
  }

  override getQueryAndParameters(): [string, unknown[]] {
    const [sql, parameters] = withStatementKeys(
      this,
      () => super.getQueryAndParameters() as [string, unknown[]],
    );
    assertParametersFit(this, parameters);
    uniqueWriteOf(this)?.announceUpdate(parameters, super.getValueSet(), this);
    return [sql, parameters];
  }

  override getQuery(): string {
    const entity = encryptedEntityOf(this);
    if (entity !== undefined) {
      const values = super.getValueSet();
      if (mayHoldSqlExpression(values)) refuseSqlExpressions(entity, values);
    }
    assertAllowed(this);
    return installation(this).checked.add(super.getQuery());
  }

  protected override getValueSet(): ObjectLiteral {
    const values = super.getValueSet();
    const entity = encryptedEntityOf(this);
    if (entity === undefined) return values;
    assertNoExplicitTokens(entity, values);
    return withIndexColumns(entity, values);
  }

  protected override getWherePredicateCondition(aliasPath: string, parameterValue: unknown) {
    const predicate = rewritePredicate(this, [], installation(this), aliasPath, parameterValue);
    if ('sql' in predicate) return predicate.sql;
    return super.getWherePredicateCondition(predicate.path, predicate.value);
  }
}

/** TypeORM's DeleteQueryBuilder whose criteria may name encrypted properties. */
class EncryptingDeleteQueryBuilder<
  Entity extends ObjectLiteral,
> extends DeleteQueryBuilder<Entity> {
  override execute(): Promise<DeleteResult> {
    return withResolvedParameters(this, installation(this), this.queryRunner, () =>
      super.execute(),
    );
  }

  override getQueryAndParameters(): [string, unknown[]] {
    const statement = withStatementKeys(
      this,
      () => super.getQueryAndParameters() as [string, unknown[]],
    );
    assertParametersFit(this, statement[1]);
    return statement;
  }

  override getQuery(): string {
    assertAllowed(this);
    return installation(this).checked.add(super.getQuery());
  }

  protected override getWherePredicateCondition(aliasPath: string, parameterValue: unknown) {
    const predicate = rewritePredicate(this, [], installation(this), aliasPath, parameterValue);
    if ('sql' in predicate) return predicate.sql;
    return super.getWherePredicateCondition(predicate.path, predicate.value);
  }
}

/** TypeORM's SoftDeleteQueryBuilder whose criteria may name encrypted properties. */
class EncryptingSoftDeleteQueryBuilder<
  Entity extends ObjectLiteral,
> extends SoftDeleteQueryBuilder<Entity> {
  override execute(): Promise<UpdateResult> {
    return withResolvedParameters(this, installation(this), this.queryRunner, () =>
      super.execute(),
    );
  }

  override getQueryAndParameters(): [string, unknown[]] {
    const statement = withStatementKeys(
      this,
      () => super.getQueryAndParameters() as [string, unknown[]],
    );
    assertParametersFit(this, statement[1]);
    return statement;
  }

  override getQuery(): string {
    assertAllowed(this);
    return installation(this).checked.add(super.getQuery());
  }

  protected override getWherePredicateCondition(aliasPath: string, parameterValue: unknown) {
    const predicate = rewritePredicate(this, [], installation(this), aliasPath, parameterValue);
    if ('sql' in predicate) return predicate.sql;
    return super.getWherePredicateCondition(predicate.path, predicate.value);
  }
}

/** Lays the methods above over those of TypeORM. */
export function patchWriteQueryBuilders(): void {
  layOver(InsertQueryBuilder, EncryptingInsertQueryBuilder);
  layOver(UpdateQueryBuilder, EncryptingUpdateQueryBuilder);
  layOver(DeleteQueryBuilder, EncryptingDeleteQueryBuilder);
  layOver(SoftDeleteQueryBuilder, EncryptingSoftDeleteQueryBuilder);
}

function installation(builder: AnyQueryBuilder): Installation {
  return installationOf(builder.connection);
}

/** What no write may do, whichever it is. */
function assertAllowed(builder: AnyQueryBuilder): void {
  const installed = installation(builder);
  assertMappedTable(builder, installed);
  assertNoRawUse(builder.expressionMap, installed);
}

/** What TypeORM takes from the values of an UPDATE is enumerable, save within an embedded object. */
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

/** INSERT … SELECT, which TypeORM has since 1.0. */
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
  const { entity: name, property } = target.policy;
  throw new UnsupportedQueryError(
    `${describeColumn(target)} is encrypted and cannot be filled by INSERT … SELECT, ` +
      'which moves values inside the database. Read the rows and insert them.',
    { entity: name, property },
  );
}
