import { SelectQueryBuilder } from 'typeorm';
import type { ObjectLiteral, QueryRunner } from 'typeorm';
import type { ReadStream } from 'node:fs';
import { UnsupportedQueryError } from '../../errors';
import { describeColumn } from '../metadata/encrypted-column';
import { installationOf } from '../installation/installation';
import { lend, share } from '../connection/lent-connection';
import { withoutCleartext } from './redacted-criteria';
import { withoutCaching, countedSelects } from '../query/refusal/unseen-columns';
import { expecting, keepFindOptions, noteFindOptions } from '../query/lookup/expectation';
import { layOver } from './lay-over';
import { assertParametersFit } from '../query/refusal/mapped-table';
import { rewritePredicate } from '../query/lookup/predicate';
import { prepareHydration, restorePreviousValues } from '../query/hydration/prepare-hydration';
import { selectedColumns } from '../query/hydration/raw-result';
import { assertNoneDeferred, withResolvedParameters } from '../query/lookup/resolved-parameters';
import { assertNoRawUse } from '../query/refusal/statement-check';
import { copyCriteriaKeys, withStatementKeys } from '../query/lookup/statement-keys';

/** TypeORM 0.3 counts rows, whatever is selected. */
const COUNTS_SELECTED = 'computeSelectedColumnExpressions' in SelectQueryBuilder.prototype;

/** How many results of a builder are on their way to become entities, where any is. */
const hydrations = new WeakMap<object, number>();

/**
 * TypeORM's SelectQueryBuilder with three things added: lookups on encrypted properties go to their
 * blind indexes, data keys are fetched before rows are hydrated, and SQL that ciphertext cannot
 * answer is refused.
 */
class EncryptingSelectQueryBuilder<
  Entity extends ObjectLiteral,
> extends SelectQueryBuilder<Entity> {
  protected override getWherePredicateCondition(aliasPath: string, parameterValue: unknown) {
    const predicate = rewritePredicate(
      this,
      this.joins,
      installationOf(this.connection),
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
    const installation = installationOf(this.connection);
    assertNoRawUse(this.expressionMap, installation);
    return installation.checked.add(super.getQuery());
  }

  override getQueryAndParameters(): [string, unknown[]] {
    assertNoneDeferred(this);
    const statement = withStatementKeys(
      this,
      () => super.getQueryAndParameters() as [string, unknown[]],
    );
    assertParametersFit(this, statement[1]);
    return statement;
  }

  protected override obtainQueryRunner(): QueryRunner {
    return this.queryRunner ?? lend(super.obtainQueryRunner());
  }

  protected override async executeEntitiesAndRawResults(queryRunner: QueryRunner) {
    // Relations that are loaded by queries of their own may be so at the same time.
    if (queryRunner === this.queryRunner) share(queryRunner);
    const installation = installationOf(this.connection);
    const { joinAttributes, skip, take } = this.expressionMap;
    const pages = joinAttributes.length > 0 && (skip !== undefined || take !== undefined);
    // TypeORM takes the order of a page apart before it makes a statement, with errors of its own.
    if (pages) assertNoRawUse(this.expressionMap, installation);
    hydrations.set(this, hydrationsOf(this) + 1);
    try {
      // It copies the parameters as well.
      const results = await withResolvedParameters(this, installation, queryRunner, () =>
        super.executeEntitiesAndRawResults(queryRunner),
      );
      restorePreviousValues(installation, results.raw as Record<string, unknown>[]);
      return results;
    } finally {
      hydrations.set(this, hydrationsOf(this) - 1);
    }
  }

  /** The rows of a page are loaded by a copy, which TypeORM does not tell what they are for. */
  override clone(): this {
    const copy = super.clone();
    copyCriteriaKeys(this, copy);
    if (hydrationsOf(this) > 0) hydrations.set(copy, 1);
    return copy;
  }

  override async getOneOrFail(): Promise<Entity> {
    try {
      return await super.getOneOrFail();
    } catch (error) {
      throw withoutCleartext(error, this.expressionMap.parameters);
    }
  }

  /** TypeORM 1 counts distinct selected values, which of ciphertexts are all: their tokens are counted. */
  protected override async executeCountQuery(queryRunner: QueryRunner): Promise<number> {
    const { expressionMap, findOptions } = this;
    const { selects } = expressionMap;
    if (COUNTS_SELECTED && findOptions.select !== undefined) {
      const installation = installationOf(this.connection);
      expressionMap.selects = await countedSelects(expressionMap, installation, queryRunner);
    }
    const counting = super.executeCountQuery(queryRunner);
    expressionMap.selects = selects;
    return counting;
  }

  /** Rows that are asked for raw have nothing in the place of ciphertexts, whatever else is under way. */
  override getRawMany<T>(): Promise<T[]> {
    if (hydrationsOf(this) === 0) return super.getRawMany<T>();
    const copy = super.clone();
    copyCriteriaKeys(this, copy);
    return copy.getRawMany<T>();
  }

  protected override async loadRawResults(queryRunner: QueryRunner) {
    const installation = installationOf(this.connection);
    const hydrates = hydrationsOf(this) > 0;
    const rows = await withResolvedParameters(this, installation, queryRunner, () =>
      withoutCaching(
        this.expressionMap,
        installation,
        () => super.loadRawResults(queryRunner) as Promise<Record<string, unknown>[]>,
      ),
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
    for (const [, encrypted] of selectedColumns(
      this.expressionMap,
      installationOf(this.connection),
    )) {
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
    return withResolvedParameters(this, installationOf(this.connection), this.queryRunner, () =>
      super.stream(),
    );
  }
}

function hydrationsOf(builder: object): number {
  return hydrations.get(builder) ?? 0;
}

/** Lays the methods above over those of TypeORM. */
export function patchSelectQueryBuilder(): void {
  layOver(SelectQueryBuilder, EncryptingSelectQueryBuilder);
}
