import { UnsupportedQueryError } from '../../errors';
import type { EncryptedColumn } from '../encrypted-column';
import { describeColumn } from '../encrypted-column';
import type { Installation } from '../installation';
import type { Expressions } from './any-query-builder';

/** A name in SQL with the alias before it, if any, and where it stands. */
interface ColumnReference {
  readonly alias: string | undefined;
  readonly path: string;
  readonly before: string;
  readonly after: string;
}

// String literals, casts, parameters and comments are stepped over; the last group is a name with its qualifiers.
const SQL_TOKENS =
  /'(?:[^']|'')*'|--[^\n]*|\/\*[\s\S]*?\*\/|::\s*[\w".]+|:(?:\.\.\.)?[\w.]+|((?:"[^"]+"|`[^`]+`|[\p{L}_][\p{L}\p{N}_$]*)(?:\s*\.\s*(?:"[^"]+"|`[^`]+`|[\p{L}_][\p{L}\p{N}_$]*))*)/gu;

/**
 * Refuses hand-written SQL that names an encrypted property: the database would compare, sort or
 * compute ciphertext, and parameters would carry the plaintext to it. NULL checks and counting are fine.
 */
export function assertNoRawUse(expressions: Expressions, installation: Installation): void {
  const encrypted = encryptedAliases(expressions, installation);
  if (encrypted.size === 0) return;
  for (const { sql, clause } of rawFragments(expressions)) {
    for (const reference of columnReferences(sql)) {
      const column = resolve(reference, encrypted);
      if (column === undefined || isHarmless(reference)) continue;
      throw rawUse(column, clause);
    }
  }
}

type EncryptedAliases = ReadonlyMap<string, readonly EncryptedColumn[]>;

function encryptedAliases(expressions: Expressions, installation: Installation): EncryptedAliases {
  const aliases = new Map<string, readonly EncryptedColumn[]>();
  for (const alias of expressions.aliases) {
    if (!alias.hasMetadata) continue;
    const entity = installation.encryptedEntity(alias.metadata);
    if (entity !== undefined) aliases.set(alias.name, entity.columns);
  }
  return aliases;
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
    const name = match[1];
    if (name === undefined) continue;
    const parts = name.split('.').map((part) => part.trim().replace(/^["`]|["`]$/g, ''));
    const before = sql.slice(0, match.index);
    const after = sql.slice(match.index + name.length);
    yield { alias: undefined, path: parts.join('.'), before, after };
    if (parts.length > 1) {
      yield { alias: parts[0], path: parts.slice(1).join('.'), before, after };
    }
  }
}

function resolve(
  { alias, path, after }: ColumnReference,
  encrypted: EncryptedAliases,
): EncryptedColumn | undefined {
  if (alias !== undefined) return find(encrypted.get(alias) ?? [], path);
  // A bare name before a parenthesis is a function.
  if (/^\s*\(/.test(after)) return undefined;
  return find([...encrypted.values()].flat(), path);
}

function find(columns: readonly EncryptedColumn[], path: string): EncryptedColumn | undefined {
  return columns.find(
    ({ column }) =>
      path === column.propertyPath || path === column.databaseName || path === column.databasePath,
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
