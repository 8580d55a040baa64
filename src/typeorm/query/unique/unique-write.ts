import type { ObjectLiteral, QueryRunner } from 'typeorm';
import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';
import { FieldEncryptionError, KeyStateError } from '../../../errors';
import type { EncryptedEntity, UniqueIndex } from '../../metadata/encrypted-column';
import { describeColumn } from '../../metadata/encrypted-column';
import type { Installation } from '../../installation/installation';
import { ownTransaction } from '../../connection/own-transaction';
import { withConnection } from '../../connection/lent-connection';
import { SqlParameters } from '../../connection/sql-dialect';
import type { TokenRows } from './token-rows';
import type { AnyQueryBuilder } from '../any-query-builder';
import { bringTargetsOver, bringToCurrentToken } from './current-tokens';
import type { Restriction } from './current-tokens';
import { lockIndex, lockTokens } from './token-lock';
import { insertedTuples, tupleChange } from './unique-tuples';
import type { Member, TupleChange, Tuples } from './unique-tuples';
import { UpdateTargets } from './token-rows';

/** Makes way for what a statement is about to store under one index. */
type MakeWay = (runner: QueryRunner) => Promise<void>;

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
  #pending: readonly MakeWay[] = [];

  constructor(installation: Installation, entity: EncryptedEntity) {
    this.#installation = installation;
    this.#entity = entity;
  }

  /** Whether a unique index of the entity may hold other tokens than those it is written with. */
  static isNeeded({ uniqueIndexes }: EncryptedEntity): boolean {
    return uniqueIndexes.some(mayHoldOthers);
  }

  /** Told of an INSERT as it is built, which is after listeners have had their say on the values. */
  announceInsert(
    parameters: unknown,
    valueSets: readonly ObjectLiteral[],
    columns: readonly ColumnMetadata[],
  ): void {
    const named = new Set(columns);
    this.#parameters = parameters;
    this.#pending = this.#indexesOf((index) => {
      const tuples = insertedTuples(index, valueSets, named);
      return tuples.length === 0 ? undefined : this.#storing(index, tuples);
    });
  }

  /** Told of an UPDATE, by the builder that makes it. */
  announceUpdate(parameters: unknown, valueSet: ObjectLiteral, builder: AnyQueryBuilder): void {
    this.#parameters = parameters;
    this.#pending = this.#indexesOf((index) => {
      const change = tupleChange(index, valueSet);
      if (change === undefined) return undefined;
      const { value, members, kept } = change;
      return value !== undefined && kept.length === 0
        ? this.#storing(index, [{ values: [value], members }])
        : this.#changing(index, change, new UpdateTargets(builder));
    });
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
    for (const makeWay of this.#pending) await makeWay(runner);
  }

  #indexesOf(makeWay: (index: UniqueIndex) => MakeWay | undefined): MakeWay[] {
    return this.#entity.uniqueIndexes
      .filter(mayHoldOthers)
      .flatMap((index) => makeWay(index) ?? []);
  }

  /** For tuples of which all is known. */
  #storing(index: UniqueIndex, tuples: readonly Tuples[]): MakeWay {
    const values = tuples.flatMap((each) => each.values);
    const isCurrent = currentToken(index, values[0]);
    return async (runner) => {
      await lockTokens(runner, index, values);
      for (const { values: some, members } of tuples) {
        await this.#bringOver(runner, index, some, (rows) => membersOf(rows, members));
      }
      isCurrent();
    };
  }

  /** For tuples that depend on what the rows hold, which nobody may change meanwhile. */
  #changing(index: UniqueIndex, change: TupleChange, targets: UpdateTargets): MakeWay {
    const { value, members, kept } = change;
    const isCurrent = value === undefined ? undefined : currentToken(index, value);
    const restriction: Restriction = (rows) =>
      kept.length === 0 ? membersOf(rows, members) : placesOf(rows, targets, change);
    return async (runner) => {
      await lockIndex(runner, index);
      if (isCurrent !== undefined) {
        await this.#bringOver(runner, index, [value], restriction);
        isCurrent();
        return;
      }
      for await (const held of bringTargetsOver(this.#installation, runner, index, targets)) {
        await this.#bringOver(runner, index, held, restriction);
      }
    };
  }

  #bringOver(
    runner: QueryRunner,
    index: UniqueIndex,
    values: readonly unknown[],
    restriction: Restriction,
  ): Promise<void> {
    return bringToCurrentToken(this.#installation, runner, index, values, restriction);
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

/** Checks later on that a value still has the token of now, which the statement is built with. */
function currentToken(index: UniqueIndex, value: unknown): () => void {
  const token = index.indexed.index.token(value);
  return () => {
    if (index.indexed.index.token(value) !== token) throw rotatedMeanwhile(index);
  };
}

function membersOf(
  { dataSource }: TokenRows,
  members: readonly Member[],
  begun: ReturnType<Restriction> = { sql: '', parameters: new SqlParameters(dataSource) },
): ReturnType<Restriction> {
  const { sql, parameters } = begun;
  const conditions = members.map(
    ({ column, stored }) =>
      `${dataSource.driver.escape(column.databaseName)} = ${parameters.add(stored)}`,
  );
  return { sql: [...(sql === '' ? [] : [sql]), ...conditions].join(' AND '), parameters };
}

/** Where the rows of an UPDATE are, or will be, but for the value. */
function placesOf(
  rows: TokenRows,
  targets: UpdateTargets,
  { members, kept }: TupleChange,
): ReturnType<Restriction> {
  const names = kept.map(({ databaseName }) => rows.dataSource.driver.escape(databaseName));
  const { sql, parameters } = targets.select(rows.table, names);
  return membersOf(rows, members, { sql: `(${names.join(', ')}) IN (${sql})`, parameters });
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
