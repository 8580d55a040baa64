import { InsertQueryBuilder, QueryFailedError } from 'typeorm';
import type { DataSource, ObjectLiteral } from 'typeorm';

import { FORMATS, keyPrefix } from '../../../format/data-key-id';
import { rethrowFenced } from '../../connection/key-fence';
import { dropAdded } from '../../connection/table-access';
import { dialectOf } from '../../dialect/dialect-of';
import { escapedTable } from '../../dialect/escaped-table';
import { installationOf } from '../../installation/installations';
import type { EncryptedColumn, EncryptedEntity } from '../../metadata/encrypted-column';
import type { RowScope } from '../../metadata/row-scope';
import { ScopeKeySchema } from '../../tables/scope-key-table';
import type { AnyQueryBuilder, Expressions } from '../any-query-builder';

import { boundRowRefused } from './conflicting-rows';

/** How parameters with the id of the context's scope begin. */
const OWNER = 'fieldEncryptionOwner';

/** An encrypted column whose scope the context alone tells. */
interface GuardedColumn extends EncryptedColumn {
  readonly scope: RowScope;
}

/** The scope of the context. */
interface Owner {
  /** In SQL, for its id. */
  readonly parameter: string;
  /** Its key in use, which the snapshot of a transaction may be too old to show. */
  readonly keyId: string;
}

/** A statement that writes over rows. */
interface Overwriting {
  readonly sql: string;
  /** Where its assignments begin. */
  readonly from: number;
  /** The name of the row that is written over. */
  readonly row: string;
}

/**
 * Returns an UPDATE, or an INSERT with ON CONFLICT, that fails at a row with values under keys of another scope than
 * that of the context. The database looks at the row when it has locked it, so nobody can change it in between.
 */
export function guardScopes(
  builder: AnyQueryBuilder,
  { columns, scopes }: EncryptedEntity,
  values: () => readonly ObjectLiteral[],
  sql: string,
): string {
  return scopes
    .filter(({ scope }) => scope.column === undefined)
    .reduce((statement, { scope: { kind } }, i) => {
      const ofKind = columns.filter(isGuarded).filter(({ scope }) => scope.kind === kind);
      const target = overwriting(builder, statement);
      const place = (each: GuardedColumn): number => assignmentAt(target, builder.connection, each);
      // The first in the statement: some databases evaluate later assignments with what it has assigned.
      const [written] = ofKind
        .filter((each) => isWritten(each, builder, values()))
        .sort((a, b) => place(a) - place(b));
      if (written === undefined) return statement;
      const owner = ownerOf(written, builder, `${OWNER}${String(i)}`);
      const own = ofKind.map((each) => isOwnSql(builder.connection, target.row, each, owner));
      return withCondition(builder.connection, target, written, own);
    }, sql);
}

/**
 * Rethrows the error of a statement; that of its fence or of {@link guardScopes} as one for users.
 *
 * @throws {@link ScopeMismatchError}
 */
export function rethrowGuarded(
  { connection, expressionMap: { parameters } }: AnyQueryBuilder,
  entity: EncryptedEntity | undefined,
  error: unknown,
): never {
  const owners = Object.keys(parameters).filter((name) => name.startsWith(OWNER));
  dropAdded(
    error,
    owners.map((name) => parameters[name] as unknown),
  );
  if (error instanceof QueryFailedError) {
    const { message } = error as QueryFailedError;
    const refused = boundRowRefused(entity, message);
    if (refused !== undefined) throw refused;
    const guarded = entity?.columns.filter(isGuarded);
    const hit = guarded?.find(({ scope }) => message.includes(markOf(scope)));
    if (hit !== undefined) throw hit.scope.foreignRow();
  }
  rethrowFenced(connection, error);
}

function isGuarded(encrypted: EncryptedColumn): encrypted is GuardedColumn {
  return encrypted.scope !== undefined && encrypted.scope.column === undefined;
}

function isWritten(
  { column }: GuardedColumn,
  builder: AnyQueryBuilder,
  values: readonly ObjectLiteral[],
): boolean {
  if (!values.some((each) => (column.getEntityValue(each) ?? null) !== null)) return false;
  if (!(builder instanceof InsertQueryBuilder)) return column.isUpdate;
  const { onUpdate } = builder.expressionMap as Partial<Expressions>;
  const overwritten: unknown = onUpdate?.overwrite;
  return Array.isArray(overwritten) && overwritten.includes(column.databaseName);
}

function ownerOf(
  { policy, scope }: GuardedColumn,
  builder: AnyQueryBuilder,
  parameter: string,
): Owner {
  const current = scope.current();
  builder.setParameter(parameter, current.id);
  const { id: keyId } = installationOf(builder.connection).keys.activeKey(policy.keyName, current);
  return { parameter: `:${parameter}`, keyId };
}

function overwriting(builder: AnyQueryBuilder, sql: string): Overwriting {
  const { connection, expressionMap } = builder;
  const { mainAlias } = expressionMap;
  if (mainAlias === undefined) throw new TypeError('a statement that writes has a table');
  const table = escapedTable(connection, mainAlias.metadata);
  if (!(builder instanceof InsertQueryBuilder)) {
    return { sql, from: sql.lastIndexOf(`UPDATE ${table} SET `), row: table };
  }
  const { upsert } = dialectOf(connection).sql;
  const hasAlias = upsert.hasAlias && mainAlias.name !== mainAlias.metadata.tablePath;
  const row = hasAlias ? connection.driver.escape(mainAlias.name) : table;
  return { sql, from: sql.lastIndexOf(upsert.update), row };
}

function targetSql({ driver }: DataSource, { column }: GuardedColumn): string {
  return `${driver.escape(column.databaseName)} = `;
}

function assignmentAt(
  { sql, from }: Pick<Overwriting, 'sql' | 'from'>,
  dataSource: DataSource,
  written: GuardedColumn,
): number {
  return from < 0 ? -1 : sql.indexOf(targetSql(dataSource, written), from);
}

/** Assigns to a column only where all conditions hold, and fails elsewhere. */
function withCondition(
  dataSource: DataSource,
  { sql, from }: Overwriting,
  written: GuardedColumn,
  conditions: readonly string[],
): string {
  const target = targetSql(dataSource, written);
  const at = assignmentAt({ sql, from }, dataSource, written);
  const begin = at + target.length;
  const forms = dialectOf(dataSource).sql;
  const assigned = at < 0 ? undefined : forms.assigned.exec(sql.slice(begin))?.[0];
  if (assigned === undefined) throw new TypeError('the assignment of a written value is not found');
  const failure = forms.fail(markOf(written.scope), written.policy.storage);
  const whole = `CASE WHEN ${conditions.join(' AND ')} THEN ${assigned} ELSE ${failure} END`;
  return `${sql.slice(0, begin)}${whole}${sql.slice(begin + assigned.length)}`;
}

/** Returns SQL that is true where a row has no value, or one under a key of the scope. */
function isOwnSql(
  dataSource: DataSource,
  row: string,
  { column, policy, readsPlaintext, previousFormat, scope }: GuardedColumn,
  { parameter, keyId }: Owner,
): string {
  const cell = `${row}.${dataSource.driver.escape(column.databaseName)}`;
  const forms = dialectOf(dataSource).sql;
  const prefix = forms.prefix(cell, policy.storage);
  const [current, isOfKey] = forms.hasHexPrefix(policy.storage)
    ? [`02${keyId.toUpperCase()}`, `k.id = lower(substr(${prefix}, 3))`]
    : [keyPrefix(keyId, FORMATS.bound), `k.prefix = ${prefix}`];
  const table = escapedTable(dataSource, dataSource.getMetadata(ScopeKeySchema));
  const key = `SELECT 1 FROM ${table} k WHERE ${isOfKey}`;
  const own =
    `${cell} IS NULL OR ${prefix} = '${current}' OR ` +
    `EXISTS (${key} AND k.kind = '${scope.kind}' AND k.scope = ${parameter})`;
  // Values from before there were scopes belong to none.
  const mayBeEarlier = policy.readsUnscoped || readsPlaintext || previousFormat !== undefined;
  return mayBeEarlier ? `(${own} OR NOT EXISTS (${key}))` : `(${own})`;
}

function markOf({ kind }: RowScope): string {
  return `field-encryption - a row of another <${kind}>`;
}
