import type { ReadStream } from 'node:fs';
import { SelectQueryBuilder } from 'typeorm';
import type { EntityMetadata, ObjectLiteral, QueryRunner } from 'typeorm';

import { lend, share } from '../connection/lent-connection';
import { installationOf } from '../installation/installations';
import { turnOf } from '../installation/value-use';
import { queryRefused } from '../metadata/encrypted-column';
import type { EncryptedColumn } from '../metadata/encrypted-column';
import type { AnyQueryBuilder } from '../query/any-query-builder';
import { withBoundColumns } from '../query/hydration/bound-rows';
import { prepareHydration, restorePreviousValues } from '../query/hydration/prepare-hydration';
import { selectedColumns } from '../query/hydration/raw-result';
import { inAlternative, inConditions } from '../query/lookup/condition-row';
import { keepFindOptions, noteFindOptions } from '../query/lookup/expectation';
import { copyLookUps, lookedUpColumn, noteRun } from '../query/lookup/criteria-uses';
import { withResolvedParameters } from '../query/lookup/resolved-parameters';
import { copyCriteriaKeys } from '../query/lookup/statement-keys';
import { assertFindOrder } from '../query/refusal/find-order';
import { assertNoRawUse } from '../query/refusal/statement-check';
import { countedSelects, withoutCaching } from '../query/refusal/unseen-columns';

import { overrideClass } from './override';
import { withoutCleartext } from './redacted-criteria';

/** How many results of a builder are being turned into entities. */
const hydrations = new WeakMap<object, number>();

/**
 * TypeORM's SelectQueryBuilder that fetches data keys before rows are hydrated, and refuses SQL that
 * ciphertext cannot answer.
 */
class EncryptingSelectQueryBuilder<
  Entity extends ObjectLiteral,
> extends SelectQueryBuilder<Entity> {
  protected override applyFindOptions(): void {
    const { mainAlias } = this.expressionMap;
    const { order } = this.findOptions;
    if (order !== undefined && mainAlias?.hasMetadata === true) {
      assertFindOrder(order, mainAlias.metadata, installationOf(this.connection));
    }
    keepFindOptions(this, () => {
      super.applyFindOptions();
    });
  }

  protected override buildWhere(
    ...args: Parameters<SelectQueryBuilder<Entity>['buildWhere']>
  ): string {
    const [where, , , embedded] = args;
    // The columns beside an embedded class say more than those within.
    const build = (): string => super.buildWhere(...args);
    return noteFindOptions(this, where, () =>
      embedded === undefined ? inConditions(this, where, build) : build(),
    );
  }

  override orWhere(...args: Parameters<SelectQueryBuilder<Entity>['orWhere']>): this {
    return inAlternative(this, () => super.orWhere(...args));
  }

  override getQuery(): string {
    const installation = installationOf(this.connection);
    assertNoRawUse(this.expressionMap, installation);
    return installation.checked.add(super.getQuery());
  }

  protected override obtainQueryRunner(): QueryRunner {
    noteRun(this);
    return this.queryRunner ?? lend(super.obtainQueryRunner());
  }

  protected override async executeEntitiesAndRawResults(queryRunner: QueryRunner) {
    // Queries of their own may load relations on it at the same time.
    if (queryRunner === this.queryRunner) share(queryRunner);
    const installation = installationOf(this.connection);
    const { joinAttributes, skip, take } = this.expressionMap;
    const pages = joinAttributes.length > 0 && (skip !== undefined || take !== undefined);
    // TypeORM parses the order of a page before it makes a statement, with errors of its own.
    if (pages) assertNoRawUse(this.expressionMap, installation);
    hydrations.set(this, hydrationsOf(this) + 1);
    try {
      // TypeORM copies the builder, with its parameters, for the rows of a page.
      const results = await withResolvedParameters(this, installation, queryRunner, () =>
        super.executeEntitiesAndRawResults(queryRunner),
      );
      restorePreviousValues(installation, results.raw as Record<string, unknown>[]);
      return results;
    } finally {
      hydrations.set(this, hydrationsOf(this) - 1);
    }
  }

  /** Adds the columns that encrypted ones are bound to; not to sub-queries and raw rows. */
  protected override buildEscapedEntityColumnSelects(alias: string, metadata: EntityMetadata) {
    const selects = super.buildEscapedEntityColumnSelects(alias, metadata);
    if (hydrationsOf(this) === 0) return selects;
    return withBoundColumns(selects, alias, metadata, installationOf(this.connection));
  }

  /** TypeORM loads the rows of a page by a copy, which has to know that they are hydrated. */
  override clone(): this {
    const copy = copied(this, super.clone());
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

  /** Returns raw rows as the database holds them, even while the builder also loads entities. */
  override getRawMany<T>(): Promise<T[]> {
    if (hydrationsOf(this) === 0) return super.getRawMany<T>();
    return copied(this, super.clone()).getRawMany<T>();
  }

  protected override async executeExistsQuery(queryRunner: QueryRunner): Promise<boolean> {
    if (this.queryRunner === undefined) await turnToRead(this);
    return super.executeExistsQuery(queryRunner);
  }

  protected override async loadRawResults(queryRunner: QueryRunner) {
    const installation = installationOf(this.connection);
    const { expressionMap: expressions } = this;
    const columns = hydrationsOf(this) > 0 ? selectedColumns(expressions, installation) : [];
    // A given connection belongs to a transaction, or to a write that reads a row again.
    if (this.queryRunner === undefined) await turnToRead(this, columns[0]?.[1]);
    const rows = await withResolvedParameters(this, installation, queryRunner, () =>
      withoutCaching(
        this.expressionMap,
        installation,
        () => super.loadRawResults(queryRunner) as Promise<Record<string, unknown>[]>,
      ),
    );
    if (columns.length > 0) {
      const result = { rows, columns, expressions, installation, queryRunner };
      await prepareHydration(result);
    }
    return rows;
  }

  /** Refuses to stream encrypted columns: their keys cannot be fetched in the middle of a stream. */
  override async stream(): Promise<ReadStream> {
    const installation = installationOf(this.connection);
    const { aliases, selects } = this.expressionMap;
    for (const [, encrypted] of selectedColumns(this.expressionMap, installation)) {
      const path = encrypted.column.propertyPath;
      const isStreamed = selects.some(({ selection }) =>
        aliases.some(
          ({ name, hasMetadata }) =>
            hasMetadata && (selection === name || selection === `${name}.${path}`),
        ),
      );
      if (!isStreamed) continue;
      throw queryRefused(
        encrypted,
        'is encrypted and cannot be streamed. Select other columns only, or page through find().',
      );
    }
    return withResolvedParameters(this, installation, this.queryRunner, () => super.stream());
  }
}

/** TypeORM's SelectQueryBuilder that counts distinct tokens in place of ciphertexts, which all differ. */
class CountingSelectQueryBuilder<Entity extends ObjectLiteral> extends SelectQueryBuilder<Entity> {
  protected override async executeCountQuery(queryRunner: QueryRunner): Promise<number> {
    const { expressionMap, findOptions } = this;
    const { selects } = expressionMap;
    if (findOptions.select !== undefined) {
      const installation = installationOf(this.connection);
      expressionMap.selects = await countedSelects(expressionMap, installation, queryRunner);
    }
    const counting = super.executeCountQuery(queryRunner);
    expressionMap.selects = selects;
    return counting;
  }
}

/** Notes that a builder has the criteria of another. */
function copied<B extends AnyQueryBuilder>(from: AnyQueryBuilder, to: B): B {
  copyCriteriaKeys(from, to);
  copyLookUps(from, to);
  return to;
}

/** Waits for the turn of an actor that is slowed down, if a builder reads or looks up encrypted values. */
function turnToRead(builder: AnyQueryBuilder, read?: EncryptedColumn): Promise<void> | undefined {
  const used = read ?? lookedUpColumn(builder);
  if (used === undefined) return undefined;
  const operation = read === undefined ? 'lookup' : 'decrypt';
  return turnOf(installationOf(builder.connection), used, operation);
}

function hydrationsOf(builder: object): number {
  return hydrations.get(builder) ?? 0;
}

/** Overrides the methods above in TypeORM's SelectQueryBuilder. */
export function patchSelectQueryBuilder(): void {
  overrideClass(SelectQueryBuilder, EncryptingSelectQueryBuilder);
  // TypeORM 0.3 counts rows, whatever is selected.
  if ('computeSelectedColumnExpressions' in SelectQueryBuilder.prototype) {
    overrideClass(SelectQueryBuilder, CountingSelectQueryBuilder);
  }
}
