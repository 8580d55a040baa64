import { RelationQueryBuilder, SelectQueryBuilder } from 'typeorm';
import type { ObjectLiteral, QueryRunner } from 'typeorm';
import type { ReadStream } from 'node:fs';
import { UnsupportedQueryError } from '../../errors';
import { describeColumn } from '../encrypted-column';
import { installationOf } from '../installation';
import type { Installation } from '../installation';
import { restoreStored } from '../stand-in';
import { changeInto } from './builder-changes';
import { countedSelects } from './counted-selects';
import { expecting, keepFindOptions, noteFindOptions } from './expected-conditions';
import { rememberEntities } from './known-values';
import { rewritePredicate } from './predicate';
import { prepareHydration } from './prepare-hydration';
import { selectedColumns } from './raw-result';
import { assertNoneDeferred, withResolvedParameters } from './resolved-parameters';
import { assertNoRawUse } from './statement-check';
import {
  EncryptingDeleteQueryBuilder,
  EncryptingInsertQueryBuilder,
  EncryptingSoftDeleteQueryBuilder,
  EncryptingUpdateQueryBuilder,
} from './write-query-builders';

/**
 * TypeORM's SelectQueryBuilder with three things added: lookups on encrypted properties go to their
 * blind indexes, data keys are fetched before rows are hydrated, and SQL that ciphertext cannot
 * answer is refused.
 */
export class EncryptingSelectQueryBuilder<
  Entity extends ObjectLiteral,
> extends SelectQueryBuilder<Entity> {
  /** How many results are on their way to become entities. */
  #hydrations = 0;

  get #installation(): Installation {
    return installationOf(this.connection);
  }

  protected override replacePropertyNamesForTheWholeQuery(statement: string): string {
    return this.#installation.statements.named(statement, this.expressionMap, () =>
      super.replacePropertyNamesForTheWholeQuery(statement),
    );
  }

  protected override getWherePredicateCondition(aliasPath: string, parameterValue: unknown) {
    const predicate = rewritePredicate(
      this,
      this.joins,
      this.#installation,
      aliasPath,
      parameterValue,
    );
    const condition =
      'sql' in predicate
        ? predicate.sql
        : super.getWherePredicateCondition(predicate.path, predicate.value);
    return expecting(this, predicate.expectation, condition);
  }

  protected override applyFindOptions(): void {
    keepFindOptions(this, () => {
      super.applyFindOptions();
    });
  }

  protected override buildWhere(
    ...args: Parameters<SelectQueryBuilder<Entity>['buildWhere']>
  ): string {
    return noteFindOptions(this, args[0], () => super.buildWhere(...args));
  }

  override getQuery(): string {
    assertNoRawUse(this.expressionMap, this.#installation);
    return super.getQuery();
  }

  override getQueryAndParameters(): [string, unknown[]] {
    assertNoneDeferred(this);
    return super.getQueryAndParameters() as [string, unknown[]];
  }

  protected override async executeEntitiesAndRawResults(queryRunner: QueryRunner) {
    const installation = this.#installation;
    const { joinAttributes, skip, take } = this.expressionMap;
    const pages = joinAttributes.length > 0 && (skip !== undefined || take !== undefined);
    // The first statement of a page is without the order, which another builder adds unchecked.
    if (pages) assertNoRawUse(this.expressionMap, installation);
    this.#hydrations += 1;
    try {
      // It copies the parameters as well.
      const results = await withResolvedParameters(this, installation, queryRunner, () =>
        super.executeEntitiesAndRawResults(queryRunner),
      );
      const rows = results.raw as Record<string, unknown>[];
      rememberEntities(rows, results.entities);
      restoreStored(rows);
      return results;
    } finally {
      this.#hydrations -= 1;
      installation.readAhead.release(this);
    }
  }

  /** The rows of a page are loaded by a copy, which TypeORM does not tell what they are for. */
  override clone(): this {
    const copy = super.clone();
    if (this.#hydrations > 0) copy.#hydrations = 1;
    return copy;
  }

  /** TypeORM 1 counts distinct selected values, which for ciphertexts are the rows: count these. */
  protected override executeCountQuery(queryRunner: QueryRunner): Promise<number> {
    const { selects } = this.expressionMap;
    this.expressionMap.selects = countedSelects(this.expressionMap, this.#installation);
    const counting = super.executeCountQuery(queryRunner);
    this.expressionMap.selects = selects;
    return counting;
  }

  /** Rows that are asked for raw have nothing in the place of ciphertexts, whatever else is under way. */
  override getRawMany<T>(): Promise<T[]> {
    if (this.#hydrations === 0) return super.getRawMany<T>();
    const copy = super.clone();
    copy.#hydrations = 0;
    return copy.getRawMany<T>();
  }

  protected override async loadRawResults(queryRunner: QueryRunner) {
    const installation = this.#installation;
    const hydrates = this.#hydrations > 0;
    const rows = await withResolvedParameters(
      this,
      installation,
      queryRunner,
      () => super.loadRawResults(queryRunner) as Promise<Record<string, unknown>[]>,
    );
    if (!hydrates) return rows;
    const { expressionMap: expressions } = this;
    const columns = selectedColumns(expressions, installation);
    if (columns.length > 0) {
      const result = { builder: this, rows, columns, expressions, installation, queryRunner };
      await prepareHydration(result);
    }
    return rows;
  }

  /** Refused where encrypted columns are selected: their keys cannot be fetched in the middle of a stream. */
  override async stream(): Promise<ReadStream> {
    const { selects } = this.expressionMap;
    for (const [, encrypted] of selectedColumns(this.expressionMap, this.#installation)) {
      const path = encrypted.column.propertyPath;
      const streamed = selects.some(({ selection }) =>
        this.expressionMap.aliases.some(
          ({ name, hasMetadata }) =>
            hasMetadata && (selection === name || selection === `${name}.${path}`),
        ),
      );
      if (!streamed) continue;
      const { entity, property } = encrypted.policy;
      throw new UnsupportedQueryError(
        `${describeColumn(encrypted)} is encrypted and cannot be streamed. Select other columns only, ` +
          'or page through find().',
        { entity, property },
      );
    }
    return withResolvedParameters(this, this.#installation, this.queryRunner, () => super.stream());
  }
}

/** TypeORM's RelationQueryBuilder, whose statements go through builders of ours. */
class EncryptingRelationQueryBuilder<
  Entity extends ObjectLiteral,
> extends RelationQueryBuilder<Entity> {}

changeInto({
  select: EncryptingSelectQueryBuilder,
  insert: EncryptingInsertQueryBuilder,
  update: EncryptingUpdateQueryBuilder,
  delete: EncryptingDeleteQueryBuilder,
  softDelete: EncryptingSoftDeleteQueryBuilder,
  restore: EncryptingSoftDeleteQueryBuilder,
  relation: EncryptingRelationQueryBuilder,
});
