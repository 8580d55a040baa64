import type { ObjectLiteral, QueryRunner } from 'typeorm';
import { inspect } from 'node:util';
import { FieldEncryptionError, UnsupportedQueryError } from '../../errors';
import type { BlindIndex } from '../../field/blind-index';
import type { EncryptedColumn, IndexedColumn } from '../encrypted-column';
import { describeColumn } from '../encrypted-column';
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

  toJSON(): string {
    return '[encrypted]';
  }

  [inspect.custom](): string {
    return '[encrypted]';
  }
}

/** A token whose index key is not in memory at the moment. */
export class DeferredToken extends DeferredParameter {
  readonly #index: BlindIndex;
  readonly #value: unknown;

  private constructor(index: BlindIndex, value: unknown) {
    super();
    this.#index = index;
    this.#value = value;
  }

  /** The token itself where the key is in memory. Throws what is wrong with the value at once. */
  static tokenOrDeferred(index: BlindIndex, value: unknown): string | DeferredToken {
    try {
      return index.token(value);
    } catch (error) {
      if (!isKeyProblem(error)) throw error;
      return new DeferredToken(index, value);
    }
  }

  override async resolve(installation: Installation, queryRunner?: QueryRunner): Promise<string> {
    await installation.prepareIndexRoot(queryRunner);
    return this.#index.token(this.#value);
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

  constructor(encrypted: EncryptedColumn, index: IndexedColumn, values: readonly unknown[]) {
    super();
    this.#encrypted = encrypted;
    this.#index = index;
    this.#values = values.filter((value) => value !== null);
  }

  /** The tokens of the values, at least one parameter: an empty IN list is not SQL, NULL equals nothing. */
  tokens(): (string | DeferredToken | null)[] {
    const tokens = this.#values.map((v) => DeferredToken.tokenOrDeferred(this.#index.index, v));
    return tokens.length === 0 ? [null] : [...new Set(tokens)];
  }

  override async resolve(
    installation: Installation,
    queryRunner: QueryRunner | undefined,
  ): Promise<unknown[]> {
    await installation.prepareIndexRoot(queryRunner);
    const candidates = await this.#candidates(installation, queryRunner);
    const { index } = this.#index;
    const { column } = this.#encrypted;
    const [primary] = column.entityMetadata.primaryColumns;
    const ids = candidates
      .filter((row) => {
        const held: unknown = column.getEntityValue(row);
        return this.#values.some((value) => index.matches(held, value));
      })
      .map((row): unknown => primary?.getEntityValue(row));
    return ids.length === 0 ? [null] : ids;
  }

  async #candidates(
    installation: Installation,
    queryRunner: QueryRunner | undefined,
  ): Promise<ObjectLiteral[]> {
    const { column } = this.#encrypted;
    const { target, primaryColumns } = column.entityMetadata;
    const rows = await installation.dataSource
      .createQueryBuilder(queryRunner)
      .select([...primaryColumns, column].map(({ propertyPath }) => `candidate.${propertyPath}`))
      .from(target, 'candidate')
      .where(`candidate.${this.#index.column.propertyPath} IN (:...tokens)`, {
        tokens: this.tokens(),
      })
      .withDeleted()
      .callListeners(false)
      .limit(MAX_CANDIDATES + 1)
      .getMany();
    if (rows.length > MAX_CANDIDATES) throw this.#tooManyCandidates();
    return rows;
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
