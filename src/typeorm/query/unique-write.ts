import type { ObjectLiteral, QueryRunner } from 'typeorm';
import { FieldEncryptionError, KeyStateError } from '../../errors';
import type { EncryptedEntity, UniqueIndex } from '../encrypted-column';
import { describeColumn } from '../encrypted-column';
import type { Installation } from '../installation';
import { bringToCurrentToken } from './current-tokens';
import { lockTokens } from './token-lock';

/** Values that are about to be stored under a unique index. */
interface UniqueValues {
  readonly index: UniqueIndex;
  readonly values: readonly unknown[];
  /** The token that the first of them is written with. */
  readonly token: string;
}

/**
 * Keeps a unique blind index unique while stored tokens are of several forms, of which the database
 * sees that they differ and not that they stand for one value.
 *
 * Just before its INSERT or UPDATE, rows that hold a value to be written under another token are
 * given the one that it will be written with. The database then refuses the duplicate itself, or
 * finds the row as the target of an upsert. Does nothing, and sends nothing, outside a transition.
 */
export class UniqueWrite {
  readonly #installation: Installation;
  readonly #entity: EncryptedEntity;
  #parameters: unknown;
  #pending: readonly UniqueValues[] = [];
  #began = false;

  constructor(installation: Installation, entity: EncryptedEntity) {
    this.#installation = installation;
    this.#entity = entity;
  }

  /** Whether a unique index of the entity may hold other tokens than those it is written with. */
  static isNeeded({ uniqueIndexes }: EncryptedEntity): boolean {
    return uniqueIndexes.some(mayHoldOthers);
  }

  /** Told of the statement as it is built, which is after listeners have had their say on the values. */
  announce(parameters: unknown, valueSets: readonly ObjectLiteral[]): void {
    this.#parameters = parameters;
    this.#pending = this.#entity.uniqueIndexes.flatMap((index) => uniqueValues(index, valueSets));
  }

  /** Runs a write with a query runner that sees the announced statement come by. */
  async run<T>(
    heldRunner: QueryRunner | undefined,
    write: (runner: QueryRunner) => Promise<T>,
  ): Promise<T> {
    const runner = heldRunner ?? this.#installation.dataSource.createQueryRunner('master');
    const watched = watching(runner, async (parameters) => {
      if (parameters !== this.#parameters || this.#pending.length === 0) return;
      if (!runner.isTransactionActive) {
        await runner.startTransaction();
        this.#began = true;
      }
      await this.#makeWay(runner);
    });
    try {
      const result = await write(watched);
      if (this.#began) await runner.commitTransaction();
      return result;
    } catch (error) {
      if (this.#began) await rollBack(runner);
      throw error;
    } finally {
      if (heldRunner === undefined) await runner.release();
    }
  }

  async #makeWay(runner: QueryRunner): Promise<void> {
    for (const { index, values, token } of this.#pending) {
      await lockTokens(runner, index, values);
      await bringToCurrentToken(this.#installation, runner, index, values);
      if (index.indexed.index.token(values[0]) !== token) throw rotatedMeanwhile(index);
    }
  }
}

function mayHoldOthers({ encrypted, indexed }: UniqueIndex): boolean {
  try {
    return encrypted.readsPlaintext || indexed.index.isInTransition;
  } catch (error) {
    if (!(error instanceof FieldEncryptionError)) throw error;
    // Without keys it is not known. Values that need them will say so.
    return true;
  }
}

function uniqueValues(
  index: UniqueIndex,
  valueSets: readonly ObjectLiteral[],
): readonly UniqueValues[] {
  const { column } = index.encrypted;
  const values = valueSets
    .map((valueSet) => column.getEntityValue(valueSet) as unknown)
    .filter((value) => value !== null && value !== undefined);
  if (values.length === 0 || !mayHoldOthers(index)) return [];
  return [{ index, values, token: index.indexed.index.token(values[0]) }];
}

/** The statement is built, with the token of a root that is not the current one any more. */
function rotatedMeanwhile({ encrypted }: UniqueIndex): KeyStateError {
  const { entity, property } = encrypted.policy;
  return new KeyStateError(
    `${describeColumn(encrypted)}: the index key was rotated in the middle of the write. Write again.`,
    { entity, property, retryable: true },
  );
}

/** The same query runner, of which each statement waits for `before`. */
function watching(
  runner: QueryRunner,
  before: (parameters: unknown) => Promise<void>,
): QueryRunner {
  const query = async (sql: string, parameters?: unknown[], structured?: boolean) => {
    await before(parameters);
    return (await runner.query(sql, parameters, structured as true)) as unknown;
  };
  return new Proxy(runner, {
    get: (target, property) =>
      property === 'query' ? query : (Reflect.get(target, property, target) as unknown),
    set: (target, property, value) => Reflect.set(target, property, value, target),
  });
}

/** The connection may be gone, and then so is the transaction; the error that led here says more. */
async function rollBack(runner: QueryRunner): Promise<void> {
  if (!runner.isTransactionActive) return;
  await runner.rollbackTransaction().catch(() => undefined);
}
