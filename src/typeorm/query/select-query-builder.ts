import { SelectQueryBuilder } from 'typeorm';
import type { ObjectLiteral, QueryRunner, UpdateQueryBuilder } from 'typeorm';
import type { ReadStream } from 'node:fs';
import { UnsupportedQueryError } from '../../errors';
import { describeColumn } from '../encrypted-column';
import { installationOf } from '../installation';
import type { Installation } from '../installation';
import { ciphertextPrefixes, selectedColumns } from './ciphertext-prefixes';
import { resolveParameters, rewritePredicate } from './predicate';
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
  get #installation(): Installation {
    return installationOf(this.connection);
  }

  protected override getWherePredicateCondition(aliasPath: string, parameterValue: unknown) {
    const predicate = rewritePredicate(
      this,
      this.joins,
      this.#installation,
      aliasPath,
      parameterValue,
    );
    if ('sql' in predicate) return predicate.sql;
    return super.getWherePredicateCondition(predicate.path, predicate.value);
  }

  override getQuery(): string {
    assertNoRawUse(this.expressionMap, this.#installation);
    return super.getQuery();
  }

  protected override async executeEntitiesAndRawResults(queryRunner: QueryRunner) {
    // Pagination copies the parameters before it loads anything.
    await resolveParameters(this, this.#installation, queryRunner);
    return super.executeEntitiesAndRawResults(queryRunner);
  }

  protected override async loadRawResults(queryRunner: QueryRunner) {
    const installation = this.#installation;
    await resolveParameters(this, installation, queryRunner);
    const rows = (await super.loadRawResults(queryRunner)) as Record<string, unknown>[];
    if (this.expressionMap.queryEntity) {
      const prefixes = ciphertextPrefixes(rows, this.expressionMap, installation);
      await installation.loadKeys(prefixes, queryRunner);
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
    return super.stream();
  }

  override insert() {
    return new EncryptingInsertQueryBuilder<Entity>(super.insert());
  }

  override update(entityOrValues?: unknown, values?: unknown): UpdateQueryBuilder<Entity> {
    const builder = super.update(entityOrValues as string, values as object);
    return new EncryptingUpdateQueryBuilder<Entity>(builder as UpdateQueryBuilder<Entity>);
  }

  override delete() {
    return new EncryptingDeleteQueryBuilder<Entity>(super.delete());
  }

  override softDelete() {
    return new EncryptingSoftDeleteQueryBuilder<Entity>(super.softDelete());
  }

  override restore() {
    return new EncryptingSoftDeleteQueryBuilder<Entity>(super.restore());
  }
}
