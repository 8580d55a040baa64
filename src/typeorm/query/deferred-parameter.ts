import type { QueryRunner } from 'typeorm';
import { inspect } from 'node:util';
import { FieldEncryptionError, UnsupportedQueryError } from '../../errors';
import type { BlindIndex } from '../../field/blind-index';
import type { EncryptedColumn, IndexedColumn } from '../encrypted-column';
import { decryptStored, describeColumn, fetchPrevious, keyPrefixOf } from '../encrypted-column';
import type { Installation } from '../installation';

/** More candidates than this share a truncated token: the index is too short to look anything up by. */
const MAX_CANDIDATES = 10_000;

/**
 * A query parameter that is known only once keys or rows have been read. Query builders resolve
 * theirs before they build the final statement; it shows nothing of the value it stands for.
 */
export abstract class DeferredParameter {
  /** The parameter to put in its place. */
  abstract resolve(
    installation: Installation,
    queryRunner: QueryRunner | undefined,
  ): Promise<unknown>;

  /** The error of a statement that is asked for before the parameter is known. */
  abstract notYetKnown(): UnsupportedQueryError;

  toJSON(): string {
    return '[encrypted]';
  }

  [inspect.custom](): string {
    return '[encrypted]';
  }
}

interface Candidate {
  readonly id: unknown;
  readonly stored: unknown;
}

/** A token whose index key is not in memory at the moment. */
export class DeferredToken extends DeferredParameter {
  readonly #encrypted: EncryptedColumn;
  readonly #index: BlindIndex;
  readonly #value: unknown;

  private constructor(encrypted: EncryptedColumn, index: BlindIndex, value: unknown) {
    super();
    this.#encrypted = encrypted;
    this.#index = index;
    this.#value = value;
  }

  /** The token itself where the key is in memory. Throws what is wrong with the value at once. */
  static tokenOrDeferred(
    encrypted: EncryptedColumn,
    { index }: IndexedColumn,
    value: unknown,
  ): string | DeferredToken {
    try {
      return index.token(value);
    } catch (error) {
      if (!isKeyProblem(error)) throw error;
      return new DeferredToken(encrypted, index, value);
    }
  }

  override async resolve(installation: Installation, queryRunner?: QueryRunner): Promise<string> {
    await installation.prepareIndexRoot(queryRunner);
    return this.#index.token(this.#value);
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
 * The primary keys of the rows that hold one of some values exactly, found among the rows whose
 * truncated tokens match. Narrowing by primary key rather than dropping rows after the fact keeps
 * `take`, `skip`, `count`, joins and negation right.
 */
export class ExactMatches extends DeferredParameter {
  readonly #encrypted: EncryptedColumn;
  readonly #index: IndexedColumn;
  readonly #values: readonly unknown[];
  /** NULL is among the values: it equals nothing, and nothing differs from a list that holds it. */
  readonly withNull: boolean;

  constructor(encrypted: EncryptedColumn, index: IndexedColumn, values: readonly unknown[]) {
    super();
    this.#encrypted = encrypted;
    this.#index = index;
    this.#values = values.filter((value) => value !== null && value !== undefined);
    this.withNull = this.#values.length < values.length;
  }

  /** No value can match: an empty IN list, which is not SQL. */
  get isEmpty(): boolean {
    return this.#values.length === 0;
  }

  tokens(): (string | DeferredToken)[] {
    const tokens = this.#values.map((v) =>
      DeferredToken.tokenOrDeferred(this.#encrypted, this.#index, v),
    );
    return [...new Set(tokens)];
  }

  override async resolve(
    installation: Installation,
    queryRunner: QueryRunner | undefined,
  ): Promise<unknown[]> {
    await installation.prepareIndexRoot(queryRunner);
    const candidates = await this.#candidates(installation, queryRunner);
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

  /** Raw rows: with single-table inheritance an entity may lack what another class has declared. */
  async #candidates(
    installation: Installation,
    queryRunner: QueryRunner | undefined,
  ): Promise<Candidate[]> {
    const { column } = this.#encrypted;
    const { target, primaryColumns } = column.entityMetadata;
    const rows: Candidate[] = await installation.dataSource
      .createQueryBuilder(queryRunner)
      .select(`candidate.${String(primaryColumns[0]?.propertyPath)}`, 'id')
      .addSelect(`candidate.${column.propertyPath}`, 'stored')
      .from(target, 'candidate')
      .where(`candidate.${this.#index.column.propertyPath} IN (:...tokens)`, {
        tokens: this.tokens(),
      })
      .andWhere(`candidate.${column.propertyPath} IS NOT NULL`)
      .withDeleted()
      .limit(MAX_CANDIDATES + 1)
      .getRawMany();
    if (rows.length > MAX_CANDIDATES) throw this.#tooManyCandidates();
    await installation.loadKeys(
      rows.flatMap(({ stored }) => keyPrefixOf(this.#encrypted, stored) ?? []),
      queryRunner,
    );
    const ready = await fetchPrevious(
      this.#encrypted,
      rows.map(({ stored }) => stored),
    );
    return rows.map(({ id }, i) => ({ id, stored: ready[i] }));
  }

  #tooManyCandidates(): UnsupportedQueryError {
    const { entity, property } = this.#encrypted.policy;
    return new UnsupportedQueryError(
      `${describeColumn(this.#encrypted)}: over ${String(MAX_CANDIDATES)} rows share a truncated token. ` +
        'Give the blind index more bits.',
      { entity, property },
    );
  }
}

function statementRefused(
  encrypted: EncryptedColumn,
  why: string,
  remedy: string,
): UnsupportedQueryError {
  const { entity, property } = encrypted.policy;
  return new UnsupportedQueryError(
    `${describeColumn(encrypted)} is looked up by a statement that cannot be handed out: ${why}. ${remedy}.`,
    { entity, property },
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
