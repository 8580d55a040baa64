/** A name in SQL with its qualifier (alias, table or table path), if any, and where it stands. */
export interface ColumnReference {
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
 * The names in a piece of SQL that may be columns, in lower case, with every way to tell qualifier
 * from column: `a.b.c` may be column `b.c` of `a` or column `c` of `a.b`.
 */
export function* columnReferences(sql: string): Generator<ColumnReference> {
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

/** The same SQL with blanks in the place of its strings and comments. */
export function bareSql(sql: string): string {
  return sql.replaceAll(SQL_TOKENS, (token: string, _tag: unknown, name: string | undefined) =>
    name === undefined && !token.startsWith(':') ? ' ' : token,
  );
}

function unquoted(name: string): string {
  return name.replace(/^["`]|["`]$/g, '').replaceAll('""', '"');
}
