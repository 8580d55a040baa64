import { UnsupportedQueryError } from '../../errors';
import type { EncryptedColumn } from '../encrypted-column';
import { describeColumn } from '../encrypted-column';
import type { Installation } from '../installation';
import type { Expressions } from './any-query-builder';

/** A name in SQL with its qualifier (alias, table or table path), if any, and where it stands. */
interface ColumnReference {
  readonly qualifier: string | undefined;
  readonly path: string;
  readonly before: string;
  readonly after: string;
}

const NAME = String.raw`(?:"(?:[^"]|"")+"|` + '`[^`]+`' + String.raw`|[\p{L}_][\p{L}\p{N}_$]*)`;

/** What is stepped over, so that a name within it is no reference; the last group is a name with its qualifiers. */
const SQL_TOKENS = new RegExp(
  [
    // PostgreSQL's strings with backslash escapes, ordinary and dollar-quoted strings, comments
    String.raw`[eE]'(?:[^'\\]|\\[\s\S]|'')*'`,
    String.raw`'(?:[^']|'')*'`,
    String.raw`\$([\p{L}_][\p{L}\p{N}_]*)?\$[\s\S]*?\$\1\$`,
    String.raw`--[^\n]*`,
    String.raw`/\*[\s\S]*?\*/`,
    // casts and parameters
    String.raw`::\s*[\w".]+`,
    String.raw`:(?:\.\.\.)?[\w.]+`,
    String.raw`(${NAME}(?:\s*\.\s*${NAME})*)`,
  ].join('|'),
  'gu',
);

const NAME_PARTS = new RegExp(NAME, 'gu');

/**
 * Refuses hand-written SQL that names an encrypted property: the database would compare, sort or
 * compute ciphertext, and parameters would carry the plaintext to it. NULL checks and counting are fine.
 */
export function assertNoRawUse(expressions: Expressions, installation: Installation): void {
  const encrypted = encryptedAliases(expressions, installation);
  if (encrypted.size === 0) return;
  const outputs = outputColumns(expressions, encrypted);
  for (const { sql, clause } of rawFragments(expressions)) {
    const sorts = clause === 'ORDER BY' || clause === 'GROUP BY' || clause === 'DISTINCT ON';
    for (const reference of columnReferences(sql)) {
      const column =
        resolve(reference, encrypted) ?? (sorts ? outputs.get(reference.path) : undefined);
      if (column === undefined || isHarmless(reference)) continue;
      throw rawUse(column, clause);
    }
  }
}

/** Encrypted columns by what may qualify them in SQL, all in lower case as SQL does not tell cases apart. */
type EncryptedAliases = ReadonlyMap<string, readonly EncryptedColumn[]>;

function encryptedAliases(expressions: Expressions, installation: Installation): EncryptedAliases {
  const aliases = new Map<string, readonly EncryptedColumn[]>();
  for (const alias of expressions.aliases) {
    if (!alias.hasMetadata) continue;
    const { metadata, name } = alias;
    const entity = installation.encryptedEntity(metadata);
    if (entity === undefined) continue;
    for (const qualifier of [metadata.tableName, metadata.tablePath, name]) {
      aliases.set(qualifier.toLowerCase(), entity.columns);
    }
  }
  return aliases;
}

/** Encrypted columns by the names that a query gives them in its result, which sorting may use. */
function outputColumns(
  { selects }: Expressions,
  encrypted: EncryptedAliases,
): ReadonlyMap<string, EncryptedColumn> {
  const outputs = new Map<string, EncryptedColumn>();
  for (const { selection, aliasName } of selects) {
    if (aliasName === undefined) continue;
    const [qualifier = '', ...path] = selection.toLowerCase().split('.');
    const column = find(encrypted.get(qualifier) ?? [], path.join('.'));
    if (column !== undefined) outputs.set(aliasName.toLowerCase(), column);
  }
  for (const [qualifier, columns] of encrypted) {
    for (const each of columns) {
      outputs.set(`${qualifier}_${each.column.databaseName}`.toLowerCase(), each);
    }
  }
  return outputs;
}

function* rawFragments(expressions: Expressions): Generator<{ sql: string; clause: string }> {
  for (const sql of conditionStrings(expressions.wheres))
    yield { sql, clause: 'a where condition' };
  for (const sql of conditionStrings(expressions.havings)) yield { sql, clause: 'HAVING' };
  for (const { condition } of expressions.joinAttributes) {
    if (condition !== undefined) yield { sql: condition, clause: 'a join condition' };
  }
  for (const sql of Object.keys(expressions.allOrderBys)) yield { sql, clause: 'ORDER BY' };
  for (const sql of expressions.groupBys) yield { sql, clause: 'GROUP BY' };
  for (const sql of expressions.selectDistinctOn) yield { sql, clause: 'DISTINCT ON' };
  if ('onConflict' in expressions)
    yield { sql: String(expressions.onConflict), clause: 'ON CONFLICT' };
  for (const { selection } of expressions.selects) {
    if (!isPlainSelection(selection, expressions)) yield { sql: selection, clause: 'a selection' };
  }
}

/** A condition tree holds hand-written strings, and predicates that the lookup has rewritten already. */
function* conditionStrings(conditions: unknown): Generator<string> {
  if (typeof conditions === 'string') yield conditions;
  else if (Array.isArray(conditions)) for (const each of conditions) yield* conditionStrings(each);
  else if (typeof conditions === 'object' && conditions !== null && 'condition' in conditions) {
    yield* conditionStrings(conditions.condition);
  }
}

function isPlainSelection(selection: string, expressions: Expressions): boolean {
  const [aliasName, ...path] = selection.split('.');
  const alias = expressions.aliases.find(({ name }) => name === aliasName);
  if (alias === undefined) return false;
  return (
    path.length === 0 ||
    (alias.hasMetadata && alias.metadata.findColumnWithPropertyPath(path.join('.')) !== undefined)
  );
}

function* columnReferences(sql: string): Generator<ColumnReference> {
  for (const match of sql.matchAll(SQL_TOKENS)) {
    const name = match[2];
    if (name === undefined) continue;
    const parts = Array.from(name.matchAll(NAME_PARTS), ([part]) => unquoted(part).toLowerCase());
    const before = sql.slice(0, match.index);
    const after = sql.slice(match.index + name.length);
    yield { qualifier: undefined, path: parts.join('.'), before, after };
    for (let length = 1; length < parts.length; length++) {
      const qualifier = parts.slice(0, length).join('.');
      yield { qualifier, path: parts.slice(length).join('.'), before, after };
    }
  }
}

function unquoted(name: string): string {
  return name.replace(/^["`]|["`]$/g, '').replaceAll('""', '"');
}

function resolve(
  { qualifier, path, after }: ColumnReference,
  encrypted: EncryptedAliases,
): EncryptedColumn | undefined {
  if (qualifier !== undefined) return find(encrypted.get(qualifier) ?? [], path);
  // A bare name before a parenthesis is a function.
  if (/^\s*\(/.test(after)) return undefined;
  return find([...encrypted.values()].flat(), path);
}

function find(columns: readonly EncryptedColumn[], path: string): EncryptedColumn | undefined {
  return columns.find(({ column: { propertyPath, databaseName, databasePath } }) =>
    [propertyPath, databaseName, databasePath].some((name) => name.toLowerCase() === path),
  );
}

function isHarmless({ before, after }: ColumnReference): boolean {
  if (/^\s+IS\s+(?:NOT\s+)?NULL\b/i.test(after)) return true;
  return /\bCOUNT\s*\(\s*$/i.test(before) && /^\s*\)/.test(after);
}

function rawUse(column: EncryptedColumn, clause: string): UnsupportedQueryError {
  const { entity, property } = column.policy;
  const remedy =
    clause === 'a where condition' || clause === 'a join condition'
      ? `Use an object condition, such as .where({ ${property}: value }), or compare the index column ` +
        `with fieldEncryption(dataSource).token(${entity}, '${property}', value)`
      : 'Leave it out and do it in memory after reading';
  return new UnsupportedQueryError(
    `${describeColumn(column)} is encrypted and stands in ${clause} written as SQL. ${remedy}.`,
    { entity, property },
  );
}
