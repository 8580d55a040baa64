import type { ObjectLiteral, QueryRunner } from 'typeorm';
import { FieldEncryptionError, KeyStateError } from '../../errors';
import type { EncryptedEntity, UniqueIndex } from '../encrypted-column';
import { describeColumn } from '../encrypted-column';
import type { Installation } from '../installation';
import { ownTransaction } from '../own-transaction';
import { withConnection } from '../with-connection';
import { bringToCurrentToken } from './current-tokens';
import { lockTokens } from './token-lock';

/** Values that are about to be stored under a unique index. */
interface UniqueValues {
  readonly index: UniqueIndex;
  readonly values: readonly unknown[];
  /** The token that the first of them is written with. */
  readonly token: string;
}

/** What a query runner is given to send. */
interface Statement {
  readonly sql: string;
  readonly parameters: unknown[] | undefined;
  readonly structured: boolean | undefined;
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
    const { dataSource } = this.#installation;
    return withConnection(dataSource, heldRunner, (runner) =>
      write(
        watching(runner, (statement) =>
          statement.parameters === this.#parameters && this.#pending.length > 0
            ? this.#send(runner, statement)
            : send(runner, statement),
        ),
      ),
    );
  }

  /** In a transaction no longer than the statement: listeners before and after it run outside. */
  async #send(runner: QueryRunner, statement: Statement): Promise<unknown> {
    const work = async (own: QueryRunner): Promise<unknown> => {
      await this.#makeWay(own);
      return send(own, statement);
    };
    if (runner.isTransactionActive) return work(runner);
    return ownTransaction(runner, {
      work,
      isDone: () => true,
      inTransaction: () => work(runner),
    });
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

/** The same query runner, of which each statement is sent by `query`. */
function watching(
  runner: QueryRunner,
  query: (statement: Statement) => Promise<unknown>,
): QueryRunner {
  const watched = (sql: string, parameters?: unknown[], structured?: boolean): Promise<unknown> =>
    query({ sql, parameters, structured });
  return new Proxy(runner, {
    get: (target, property) =>
      property === 'query' ? watched : (Reflect.get(target, property, target) as unknown),
    set: (target, property, value) => Reflect.set(target, property, value, target),
  });
}

function send(runner: QueryRunner, { sql, parameters, structured }: Statement): Promise<unknown> {
  return runner.query(sql, parameters, structured as true);
}
