import type { ObjectLiteral, QueryRunner } from 'typeorm';
import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';

import { FieldEncryptionError, KeyStateError } from '../../../errors';
import { withConnection } from '../../connection/lent-connection';
import { ownTransaction } from '../../connection/own-transaction';
import { SqlParameters } from '../../connection/sql-parameters';
import type { Installation } from '../../installation/installation';
import { describeColumn, isIndexInTransition } from '../../metadata/encrypted-column';
import type { EncryptedEntity, UniqueIndex } from '../../metadata/encrypted-column';
import type { KnownRow } from '../../metadata/known-row';
import type { AnyQueryBuilder } from '../any-query-builder';
import { UpdatedRows } from '../write/updated-row';

import { updateTargetTokens, updateTokens } from './current-tokens';
import type { Restriction } from './current-tokens';
import { tokenOf } from './row-values';
import type { ValueOfRow } from './row-values';
import { lockIndex, lockTokens } from './token-lock';
import { UpdateTargets } from './token-rows';
import type { TokenRows } from './token-rows';
import { insertedTuples, tupleChange } from './unique-tuples';
import type { Member, TupleChange, Tuples } from './unique-tuples';

/** Updates the tokens of rows that a statement may duplicate under one index. */
type TokenUpdate = (runner: QueryRunner) => Promise<void>;

/** A statement that a query runner is given. */
interface Statement {
  readonly sql: string;
  readonly parameters: unknown[] | undefined;
  readonly structured: boolean | undefined;
}

/**
 * A write that keeps a blind index unique while stored tokens have several forms: to the database, different
 * tokens of one value are not duplicates.
 *
 * Just before its INSERT or UPDATE, rows that hold a written value under another token get the token that it
 * is written with. The database then refuses the duplicate itself, or finds the row as the target of an
 * upsert. Does nothing, and sends nothing, outside a transition.
 */
export class UniqueWrite {
  readonly #installation: Installation;
  readonly #entity: EncryptedEntity;
  #parameters: unknown;
  #pending: readonly TokenUpdate[] = [];

  constructor(installation: Installation, entity: EncryptedEntity) {
    this.#installation = installation;
    this.#entity = entity;
  }

  /** Whether a unique index of the entity may hold other tokens than it is written with. */
  static isNeeded({ uniqueIndexes }: EncryptedEntity): boolean {
    return uniqueIndexes.some(mayHoldOthers);
  }

  /** Announces an INSERT as it is built, which is after listeners may have changed the values. */
  announceInsert(
    parameters: unknown,
    valueSets: readonly ObjectLiteral[],
    columns: readonly ColumnMetadata[],
  ): void {
    const named = new Set(columns);
    this.#parameters = parameters;
    this.#pending = this.#updatesOf((index) => {
      const tuples = insertedTuples(index, valueSets, named);
      return tuples.length === 0 ? undefined : this.#beforeStoring(index, tuples);
    });
  }

  /** Announces an UPDATE, with the builder that builds it. */
  announceUpdate(parameters: unknown, valueSet: ObjectLiteral, builder: AnyQueryBuilder): void {
    this.#parameters = parameters;
    this.#pending = this.#updatesOf((index) => {
      const change = tupleChange(index, valueSet);
      if (change === undefined) return undefined;
      const { value, members, kept } = change;
      return value !== undefined && kept.length === 0
        ? this.#beforeStoring(index, [{ values: [value], members }])
        : this.#beforeChanging(index, change, builder);
    });
  }

  /** Runs a write with a query runner that recognizes the announced statement. */
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

  /** Sends the statement in a transaction no longer than itself: listeners before and after it run outside. */
  async #send(runner: QueryRunner, statement: Statement): Promise<unknown> {
    const work = async (own: QueryRunner): Promise<unknown> => {
      for (const update of this.#pending) await update(own);
      return send(own, statement);
    };
    if (runner.isTransactionActive) return work(runner);
    return ownTransaction(runner, {
      work,
      isDone: () => true,
      inTransaction: () => work(runner),
    });
  }

  #updatesOf(updateOf: (index: UniqueIndex) => TokenUpdate | undefined): TokenUpdate[] {
    return this.#entity.uniqueIndexes
      .filter(mayHoldOthers)
      .flatMap((index) => updateOf(index) ?? []);
  }

  /** Returns the update for tuples that are fully known. */
  #beforeStoring(index: UniqueIndex, tuples: readonly Tuples[]): TokenUpdate {
    const groups = tuples.map(({ values, members }) => {
      const row = rowWith(members);
      return { members, values: values.map((value) => ({ value, row })) };
    });
    const values = groups.flatMap((group) => group.values);
    const isCurrent = currentToken(index, values[0]);
    return async (runner) => {
      await lockTokens(runner, index, values);
      for (const { values: some, members } of groups) {
        await this.#update(runner, index, some, (rows) => membersOf(rows, members));
      }
      isCurrent();
    };
  }

  /** Returns the update for tuples that depend on what the rows hold, which nobody may change meanwhile. */
  #beforeChanging(index: UniqueIndex, change: TupleChange, builder: AnyQueryBuilder): TokenUpdate {
    const { value, members, kept } = change;
    const targets = new UpdateTargets(builder);
    const row = new UpdatedRows(builder, index.encrypted.column.entityMetadata);
    const isCurrent = value === undefined ? undefined : currentToken(index, { value, row });
    const restriction: Restriction = (rows) =>
      kept.length === 0 ? membersOf(rows, members) : placesOf(rows, targets, change);
    return async (runner) => {
      await lockIndex(runner, index);
      if (isCurrent !== undefined) {
        await this.#update(runner, index, [{ value, row }], restriction);
        isCurrent();
        return;
      }
      for await (const held of updateTargetTokens(this.#installation, runner, index, targets)) {
        await this.#update(runner, index, held, restriction);
      }
    };
  }

  #update(
    runner: QueryRunner,
    index: UniqueIndex,
    values: readonly ValueOfRow[],
    restriction: Restriction,
  ): Promise<void> {
    return updateTokens(this.#installation, runner, index, values, restriction);
  }
}

function mayHoldOthers({ encrypted, indexed }: UniqueIndex): boolean {
  try {
    return encrypted.readsPlaintext || isIndexInTransition(encrypted, indexed);
  } catch (error) {
    if (!(error instanceof FieldEncryptionError)) throw error;
    // Not known without keys. Values that need them report it.
    return true;
  }
}

/** Returns a check that a value still has its present token, which the statement is built with. */
function currentToken(index: UniqueIndex, value: ValueOfRow | undefined): () => void {
  if (value === undefined) return () => undefined;
  const token = tokenOf(index, value);
  return () => {
    if (tokenOf(index, value) !== token) throw rotatedMeanwhile(index);
  };
}

/** Returns what is known of rows that have some members of a tuple, among them the column of their scope. */
function rowWith(members: readonly Member[]): KnownRow {
  return { value: (column) => members.find((member) => member.column === column)?.stored };
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

/** Returns the condition for rows with the tuples, apart from the value, that an UPDATE leaves or makes. */
function placesOf(
  rows: TokenRows,
  targets: UpdateTargets,
  { members, kept }: TupleChange,
): ReturnType<Restriction> {
  const names = kept.map(({ databaseName }) => rows.dataSource.driver.escape(databaseName));
  const { sql, parameters } = targets.select(rows.table, names);
  return membersOf(rows, members, { sql: `(${names.join(', ')}) IN (${sql})`, parameters });
}

/** Returns the error of a statement that was built with a token of a root that is no longer current. */
function rotatedMeanwhile({ encrypted }: UniqueIndex): KeyStateError {
  const { entity, property } = encrypted.policy;
  return new KeyStateError(
    `${describeColumn(encrypted)}: the index key was rotated in the middle of the write. Write again.`,
    { entity, property, retryable: true },
  );
}

/** Returns a query runner that sends each statement by `query`, and is otherwise the given one. */
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
