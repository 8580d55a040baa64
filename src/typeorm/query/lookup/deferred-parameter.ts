import { inspect } from 'node:util';
import type { QueryRunner } from 'typeorm';

import { FieldEncryptionError, UnsupportedQueryError } from '../../../errors';
import type { BlindIndex } from '../../../field/blind-index';
import type { FieldPolicy } from '../../../field/field-policy';
import type { Installation } from '../../installation/installation';
import { tellOfFailure } from '../../metadata/failure-message';
import type { KnownRow } from '../../metadata/known-row';
import {
  decryptStored,
  describeColumn,
  fetchPrevious,
  keyPrefixOf,
  queryRefused,
} from '../../metadata/encrypted-column';
import type { EncryptedColumn, IndexedColumn } from '../../metadata/encrypted-column';

import { assertScopeInCondition, inRowOfScope, rowOfScope, withIndexKeys } from './index-keys';

/** If more candidates than this share a truncated token, the index is too short for lookups. */
const MAX_CANDIDATES = 10_000;

/**
 * A query parameter that is known only once keys or rows have been read. Query builders resolve it before
 * they build the final statement. It does not show the value that it stands for.
 */
export abstract class DeferredParameter {
  /** The property that is looked up. */
  readonly property: FieldPolicy;

  constructor({ policy }: EncryptedColumn) {
    this.property = policy;
  }

  /**
   * Returns the parameter to use instead.
   *
   * @param noting - makes tokens, whose keys are those of the statement.
   */
  abstract resolve(
    installation: Installation,
    queryRunner: QueryRunner | undefined,
    noting: <T>(make: () => T) => T,
  ): Promise<unknown>;

  /** Returns the error of a statement that is requested before the parameter is known. */
  abstract notYetKnown(): UnsupportedQueryError;

  toJSON(): string {
    return '[encrypted]';
  }

  [inspect.custom](): string {
    return '[encrypted]';
  }
}

interface Candidate extends Readonly<Record<string, unknown>> {
  readonly id: unknown;
  readonly stored: unknown;
}

function boundName(position: number): string {
  return `bound${String(position)}`;
}

/** Tokens whose index key is not in memory. */
export class DeferredTokens extends DeferredParameter {
  readonly #encrypted: EncryptedColumn;
  readonly #index: IndexedColumn;
  readonly #values: readonly unknown[];
  readonly #row: KnownRow | undefined;

  private constructor(
    encrypted: EncryptedColumn,
    index: IndexedColumn,
    values: readonly unknown[],
  ) {
    super(encrypted);
    this.#encrypted = encrypted;
    this.#index = index;
    this.#values = values;
    this.#row = rowOfScope(encrypted, index);
  }

  /**
   * Returns every token that rows with one of these values may have, if the keys are in memory. Throws what
   * is wrong with a value at once.
   */
  static tokensOrDeferred(
    encrypted: EncryptedColumn,
    index: IndexedColumn,
    values: readonly unknown[],
  ): string[] | DeferredTokens {
    assertScopeInCondition(encrypted, index);
    try {
      return tokensOf(index.index, values);
    } catch (error) {
      if (isKeyProblem(error)) return new DeferredTokens(encrypted, index, values);
      throw tellOfFailure(encrypted.column.entityMetadata.connection, 'lookup', error);
    }
  }

  override async resolve(
    installation: Installation,
    queryRunner: QueryRunner | undefined,
    noting: <T>(make: () => T) => T,
  ): Promise<string[]> {
    return withIndexKeys(installation, this.#encrypted, this.#index, {
      ...{ row: this.#row, queryRunner },
      work: () => noting(() => tokensOf(this.#index.index, this.#values)),
    });
  }

  override notYetKnown(): UnsupportedQueryError {
    return statementRefused(
      this.#encrypted,
      'its index key is not in memory',
      'Await fieldEncryption(dataSource).ready() first, or run the builder',
    );
  }
}

/**
 * The primary keys of the rows that hold one of some values exactly, found among those whose truncated
 * tokens match. Filtering by primary key rather than dropping rows afterwards keeps `take`, `skip`, `count`,
 * joins and negation correct.
 */
export class ExactMatches extends DeferredParameter {
  readonly #encrypted: EncryptedColumn;
  readonly #index: IndexedColumn;
  readonly #values: readonly unknown[];
  readonly #row: KnownRow | undefined;

  constructor(encrypted: EncryptedColumn, index: IndexedColumn, values: readonly unknown[]) {
    super(encrypted);
    this.#encrypted = encrypted;
    this.#index = index;
    this.#values = values;
    this.#row = rowOfScope(encrypted, index);
  }

  override async resolve(
    installation: Installation,
    queryRunner: QueryRunner | undefined,
    noting: <T>(make: () => T) => T,
  ): Promise<unknown[]> {
    const tokens = await withIndexKeys(installation, this.#encrypted, this.#index, {
      ...{ row: this.#row, queryRunner },
      work: () => noting(() => tokensOf(this.#index.index, this.#values)),
    });
    const candidates = await this.#candidates(tokens, installation, queryRunner);
    const ids = candidates.filter(({ stored }) => this.#holds(stored)).map(({ id }) => id);
    return ids.length === 0 ? [null] : ids;
  }

  override notYetKnown(): UnsupportedQueryError {
    return statementRefused(
      this.#encrypted,
      'its index is truncated and the rows that match exactly are found when the builder runs',
      'Run the builder, for instance with getMany() or getRawMany()',
    );
  }

  #holds(stored: unknown): boolean {
    const held = decryptStored(this.#encrypted, stored);
    return this.#values.some((value) => this.#index.index.matches(held, value));
  }

  /** Fetches raw rows: with single-table inheritance an entity may lack a column that another class declares. */
  async #candidates(
    tokens: readonly string[],
    installation: Installation,
    queryRunner: QueryRunner | undefined,
  ): Promise<Candidate[]> {
    const { column } = this.#encrypted;
    const { target, primaryColumns } = column.entityMetadata;
    const bound = this.#encrypted.binding?.columns ?? [];
    const builder = installation.dataSource
      .createQueryBuilder(queryRunner)
      .select(`candidate.${String(primaryColumns[0]?.propertyPath)}`, 'id')
      .addSelect(`candidate.${column.propertyPath}`, 'stored')
      .from(target, 'candidate')
      .where(`candidate.${this.#index.column.propertyPath} IN (:...tokens)`, {
        tokens,
      })
      .andWhere(`candidate.${column.propertyPath} IS NOT NULL`)
      .withDeleted()
      .limit(MAX_CANDIDATES + 1);
    bound.forEach(({ propertyPath }, i) =>
      builder.addSelect(`candidate.${propertyPath}`, boundName(i)),
    );
    const rows = await builder.getRawMany<Candidate>();
    if (rows.length > MAX_CANDIDATES) throw tooManyCandidates(this.#encrypted);
    await installation.loadKeys(
      rows.flatMap(({ stored }) => keyPrefixOf(this.#encrypted, stored) ?? []),
      queryRunner,
    );
    const ready = await fetchPrevious(
      this.#encrypted,
      rows.map(({ stored }) => stored),
    );
    return rows.flatMap((row, at) => {
      const stored = inRowOfScope(installation, this.#encrypted, ready[at], {
        ...{ row: this.#row, cell: (i) => row[boundName(i)] },
      });
      return stored === undefined ? [] : [{ id: row.id, stored }];
    });
  }
}

function tooManyCandidates(encrypted: EncryptedColumn): UnsupportedQueryError {
  const { entity, property } = encrypted.policy;
  return new UnsupportedQueryError(
    `${describeColumn(encrypted)}: over ${String(MAX_CANDIDATES)} rows share a truncated token. ` +
      'Give the blind index more bits.',
    { entity, property },
  );
}

function tokensOf(index: BlindIndex, values: readonly unknown[]): string[] {
  const [value] = values;
  if (values.length === 1) return index.tokens(value);
  return [...new Set(values.flatMap((each) => index.tokens(each)))];
}

function statementRefused(
  encrypted: EncryptedColumn,
  why: string,
  remedy: string,
): UnsupportedQueryError {
  return queryRefused(
    encrypted,
    `is looked up by a statement that cannot be handed out: ${why}. ${remedy}.`,
  );
}

function isKeyProblem(error: unknown): boolean {
  return (
    error instanceof FieldEncryptionError &&
    [
      'ERR_CONFIGURATION',
      'ERR_KMS_UNAVAILABLE',
      'ERR_KEY_UNWRAP',
      'ERR_KEY_NOT_FOUND',
      'ERR_KEY_STATE',
    ].includes(error.code)
  );
}
