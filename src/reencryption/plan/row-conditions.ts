import type { DataSource, EntityMetadata } from 'typeorm';

import { FieldEncryptionError, RunPlanError, UnsupportedQueryError } from '../../errors';
import { isBoundField } from '../../field/field-policy';
import { FORMATS, isDataKeyId, keyPrefix } from '../../format/data-key-id';
import { SCOPE_KEY_STATES } from '../../keys/record/scope-key-record';
import type { ScopeKeyState } from '../../keys/record/scope-key-record';
import { dialectOf } from '../../typeorm/dialect/dialect-of';
import type { Installation } from '../../typeorm/installation/installation';
import { isCiphertextSql } from '../../typeorm/metadata/ciphertext-check';
import type { EncryptedColumn } from '../../typeorm/metadata/encrypted-column';
import { assertNoUseIn } from '../../typeorm/query/refusal/statement-check';
import { scannedSql } from '../../typeorm/sql/sql-scanner';
import { hasMarkSql } from '../../typeorm/tables/rotatable-scopes';
import { hasPlaceholder, parameterNames } from '../database/bound-condition';
import { underScopeKeySql } from '../database/prefix-sql';
import type { RunDatabase } from '../database/run-database';
import type { WorkTable } from '../database/work-table';
import type { Mode } from '../modes/mode';
import type { RunOptions } from '../report/run-options';

/**
 * Refuses a condition of `where` or `first` that ciphertext cannot meet, or that the database does not
 * understand, by a statement that reads no rows.
 *
 * @throws {@link UnsupportedQueryError}, {@link RunPlanError}; {@link ConfigurationError} if rows are
 * hidden from the database role, whatever the condition
 */
export async function assertConditions(
  installation: Installation,
  database: RunDatabase,
  table: WorkTable,
  { where = {} }: RunOptions,
): Promise<void> {
  const { first, metadata } = table;
  const given = [
    { option: 'where', sql: where[metadata.name] ?? '', condition: '' },
    { option: 'first', sql: first, condition: first },
  ];
  for (const { option, sql, condition } of given) {
    if (sql === '') continue;
    if (hasPlaceholder(installation.dataSource, sql)) {
      throw new RunPlanError(
        `The condition that "${option}" gives for ${metadata.name} has a placeholder: only \`where\` takes ` +
          'parameters, and as :name.',
        { entity: metadata.name },
      );
    }
    requireWhole(metadata, { option, sql });
    requirePlainColumns(installation, table, { option, sql });
    try {
      await database.readPage(table, { after: undefined, until: undefined, condition, limit: 0 });
    } catch (error) {
      if (error instanceof FieldEncryptionError) throw error;
      throw new RunPlanError(
        `The condition that "${option}" gives for ${metadata.name} cannot be used: ${messageOf(error)}. ` +
          'Write it in SQL of the database, with the names of plain columns of the table.',
        { entity: metadata.name, cause: error },
      );
    }
  }
}

/**
 * Refuses a condition that closes the brackets which stand around it: the rest would be about all rows.
 *
 * @throws {@link RunPlanError}
 */
function requireWhole(
  { name: entity, connection }: EntityMetadata,
  { option, sql }: { readonly option: string; readonly sql: string },
): void {
  if (scannedSql(sql, dialectOf(connection).lexicalRules).isWhole) return;
  throw new RunPlanError(
    `The condition that "${option}" gives for ${entity} has brackets or quotes that do not match, a comment, or a ` +
      'backslash before a quote. Write one whole condition, and give texts as parameters.',
    { entity },
  );
}

/** @throws {@link UnsupportedQueryError} for a condition on an encrypted column, which ciphertext cannot meet */
function requirePlainColumns(
  installation: Installation,
  { metadata, name }: WorkTable,
  { option, sql }: { readonly option: string; readonly sql: string },
): void {
  try {
    assertNoUseIn(`SELECT 1 FROM ${name} WHERE (${sql})`, installation);
  } catch (error) {
    if (!(error instanceof UnsupportedQueryError)) throw error;
    const { entity = metadata.name, property = '' } = error;
    throw new UnsupportedQueryError(
      `${entity}.${property} is encrypted, and "${option}" takes conditions on columns in clear only. Choose the rows ` +
        'by other columns, such as the primary key.',
      { entity, property, cause: error },
    );
  }
}

/**
 * Refuses parameters that no condition of `where` has, and conditions whose parameters are not given.
 *
 * @throws {@link RunPlanError}
 */
export function assertParameters(
  { dataSource }: Installation,
  { where = {}, parameters = {} }: RunOptions,
): void {
  const wanted = new Set(Object.values(where).flatMap((sql) => parameterNames(dataSource, sql)));
  const given = Object.keys(parameters);
  const missing = [...wanted].find((name) => !given.includes(name));
  if (missing !== undefined) {
    throw new RunPlanError(
      `"where" has the parameter :${missing}, and no value was given for it. ` +
        `Give it with \`--param ${missing}=...\` (option \`parameters\`).`,
    );
  }
  const unused = given.find((name) => !wanted.has(name));
  if (unused !== undefined) {
    throw new RunPlanError(
      `A value was given for the parameter :${unused}, which "where" does not have. ` +
        `Use it in a condition, such as --where "Patient: tenant_id = :${unused}".`,
    );
  }
}

/** No row was read, so the message cannot quote one. */
function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : 'the database refuses it';
}

/** Returns the SQL condition of the rows that a mode still has to do; `undefined` if only reading can tell. */
export function pendingCondition(
  installation: Installation,
  database: RunDatabase,
  { pending }: Mode,
  { cells, columns }: WorkTable,
  keyIds: readonly string[],
): string | undefined {
  if (pending === undefined) return undefined;
  // No ciphertext names an id of another form.
  const known = keyIds.filter(isDataKeyId);
  return columns
    .map(({ encrypted, stored }) => {
      const cell = String(cells[stored]?.name);
      return pending === 'underOtherKey'
        ? underOtherKeySql(installation, database, encrypted, cell)
        : byFormSql(installation, database, { encrypted, cell, known, pending });
    })
    .join(' OR ');
}

function underOtherKeySql(
  { dataSource, keys }: Installation,
  database: RunDatabase,
  encrypted: EncryptedColumn,
  cell: string,
): string {
  const { policy, scope } = encrypted;
  if (scope !== undefined) {
    const isDone = underScopeKeySql(dataSource, cell, policy.storage, ['active', 'erased']);
    const isLeft = underKeyToBeErasedSql(dataSource, encrypted, cell);
    return `(${cell} IS NOT NULL AND NOT (${isDone}) AND NOT (${isLeft}))`;
  }
  const format = isBoundField(policy) ? FORMATS.bound : FORMATS.unbound;
  const active = keyPrefix(keys.activeKey(policy.keyName).id, format);
  return `(${cell} IS NOT NULL AND NOT (${database.beginsWith(cell, policy.storage, [active])}))`;
}

/** Tells ciphertexts from other values. Those of erased scopes are none that could be decrypted. */
function byFormSql(
  { dataSource }: Installation,
  database: RunDatabase,
  {
    encrypted: { policy, previousFormat, scope },
    cell,
    known,
    pending,
  }: {
    readonly encrypted: EncryptedColumn;
    readonly cell: string;
    readonly known: readonly string[];
    readonly pending: 'notEncrypted' | 'encrypted';
  },
): string {
  const formats = isBoundField(policy) ? Object.values(FORMATS) : [FORMATS.unbound];
  const prefixes = formats.flatMap((format) => known.map((id) => keyPrefix(id, format)));
  const isCommon = database.beginsWith(cell, policy.storage, prefixes);
  const ofScopes = (states: readonly ScopeKeyState[]): string =>
    scope === undefined ? 'FALSE' : underScopeKeySql(dataSource, cell, policy.storage, states);
  const isKnown = `${isCommon} OR ${ofScopes(SCOPE_KEY_STATES)}`;
  if (pending === 'notEncrypted') return `(${cell} IS NOT NULL AND NOT (${isKnown}))`;
  // Values under a key that is lost from the key table are encrypted, too; but a value in a previous
  // format may look like one.
  const isEncrypted =
    previousFormat === undefined
      ? `${isKnown} OR (${isCiphertextSql(dataSource, cell, policy)})`
      : isKnown;
  return `((${isEncrypted}) AND NOT (${ofScopes(['erased'])}))`;
}

/** SQL conditions of rows with values that no run is to move. */
interface ErasedConditions {
  /** Values of erased scopes. */
  readonly erased: string;
  /** Values under earlier keys of scopes that are to be erased. */
  readonly toBeErased: string;
}

/** Returns the conditions for a table; `undefined` for one without keys of scopes. */
export function erasedConditions(
  { dataSource }: Installation,
  { cells, columns }: WorkTable,
): ErasedConditions | undefined {
  const scoped = columns.filter(({ encrypted }) => encrypted.scope !== undefined);
  if (scoped.length === 0) return undefined;
  const any = (condition: (encrypted: EncryptedColumn, cell: string) => string): string =>
    scoped
      .map(({ encrypted, stored }) => condition(encrypted, String(cells[stored]?.name)))
      .join(' OR ');
  return {
    erased: any(({ policy }, cell) =>
      underScopeKeySql(dataSource, cell, policy.storage, ['erased']),
    ),
    toBeErased: any((encrypted, cell) => underKeyToBeErasedSql(dataSource, encrypted, cell)),
  };
}

function underKeyToBeErasedSql(
  dataSource: DataSource,
  { policy }: EncryptedColumn,
  cell: string,
): string {
  const isMarked = `EXISTS (${hasMarkSql(dataSource, 'erasure')})`;
  return underScopeKeySql(dataSource, cell, policy.storage, ['deactivated'], isMarked);
}
