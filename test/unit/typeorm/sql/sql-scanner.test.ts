import type { LexicalRules } from '../../../../src/typeorm/dialect/lexical-rules';
import { mysqlRules } from '../../../../src/typeorm/dialect/mysql/lexical-rules';
import { postgresRules } from '../../../../src/typeorm/dialect/postgres/lexical-rules';
import { sqliteRules } from '../../../../src/typeorm/dialect/sqlite/lexical-rules';
import { withinGroups } from '../../../../src/typeorm/sql/sql-clauses';
import { scannedSql } from '../../../../src/typeorm/sql/sql-scanner';

const RULES = { PostgreSQL: postgresRules, SQLite: sqliteRules, MySQL: mysqlRules };

/** Returns the names that the scanner finds, in the order in which they are written. */
function namesIn(sql: string, rules: LexicalRules): string[] {
  return [...withinGroups(scannedSql(sql, rules).nodes)]
    .flat()
    .flatMap((node) => (node.kind === 'name' ? node.parts.join('.') : []));
}

type Case = readonly [string, string, readonly string[]];

const POSTGRES: readonly Case[] = [
  ['a doubled quote', "'a''b' c", ['c']],
  ['an escaped quote', "e'a\\'b' c", ['c']],
  ['an escaped backslash', "E'a\\\\' c", ['c']],
  ['a backslash that escapes nothing', "'a\\b' c", ['c']],
  ['the character of ESCAPE', "a ESCAPE '\\' AND b = 'c'", ['a', 'escape', 'and', 'b']],
  ['a dollar-quoted string', '$$ a $$ b $x$ $$ c $x$ d', ['b', 'd']],
  ['a tag of any letters', "$€$ ' $€$ a $€$ ' $€$", ['a']],
  ['a parameter by number', '$1$a$ b $a$ c', ['c']],
  ['a comment up to a carriage return', "--'\ra --'\nb", ['a', 'b']],
  ['comments that nest', "/* /* */ ' */ a", ['a']],
  ['a star before the end of a comment', '/***/ a /*/ b */ c', ['a', 'c']],
  ['a cast', 'a::int b', ['a', 'b']],
  ['a cast to a quoted type', 'a::"it\'s c" b', ['a', 'b']],
  ['a cast to a type of several words', 'a::/**/character/**/varying (10) b', ['a', 'b']],
  ['a quoted name', '"A""b".c', ['a"b.c']],
  ['backticks, which are operators', '`a b` c', ['a', 'b', 'c']],
  ['an array', 'a[b.c]', ['a', 'b.c']],
  ['words at the end of numbers', '1from a where 1.5e3or b', ['from', 'a', 'where', 'or', 'b']],
  ['letters beyond ASCII', 'e\u0301\u00a0a b', ['e\u0301\u00a0a', 'b']],
];

const SQLITE: readonly Case[] = [
  ['a backslash', "'a\\' b '\\' c", ['b', 'c']],
  ['a name before a string', "e'\\' b", ['e', 'b']],
  ['names in brackets', "[a'b].[c d]", ["a'b.c d"]],
  ['names in backticks', "`a'``b` c", ["a'`b", 'c']],
  ['names in quotes', '"a\'b" c', ["a'b", 'c']],
  ['a comment beyond a carriage return', '--a\rb\nc', ['c']],
  ['comments that do not nest', '/* /* */ a', ['a']],
  ['dollars, which quote nothing', '$a$ b', ['a$', 'b']],
  ['a byte order mark', '\ufeffa', ['a']],
];

const MYSQL: readonly Case[] = [
  ['a doubled quote', "'a''b' c", ['c']],
  ['backslashes that escape no quote', "'a\\n\\\\' b", ['b']],
  ['names in backticks', "`a'``b`.c", ["a'`b.c"]],
  ['double quotes, which may be those of names', '"a b" c', ['a b', 'c']],
  ['prefixes of strings', "_utf8mb4'a' N'b' x'41' 0b1 0x4a c", ['_utf8mb4', 'n', 'x', 'c']],
  ['strings one after the other', "'a' 'b' c", ['c']],
  ['dashes that begin a comment', '-- a\n--\tb\n--\nc--', ['c']],
  ['dashes that begin none', 'a--1--b--`c`--\u00a0', ['a', 'b', 'c', '\u00a0']],
  ['a comment after #', "#'\na#b", ['a']],
  ['comments that do not nest', '/* /* */ a', ['a']],
  ['hints', '/*+ max_execution_time(1) */ a', ['a']],
  ['names that begin with a digit', '1abc t.1e5 0X1 1e', ['1abc', 't.1e5', '0x1', '1e']],
  ['names after numbers', '1e5from 1.from .5from 1.5e3or', ['from', 'from', 'from', 'or']],
  ['numbers', '1 1.5 .5 1e5 0x1f 0b01', []],
  ['dollars', '$a a$b', ['$a', 'a$b']],
  ['keywords after a dot', 'a.select', ['a.select']],
  ['variables', '@a := b', ['a', 'b']],
  ['letters beyond ASCII', 'ä\u{1f600}b c', ['ä\u{1f600}b', 'c']],
];

describe.each([
  ['PostgreSQL', POSTGRES],
  ['SQLite', SQLITE],
  ['MySQL', MYSQL],
] as const)('names in SQL of %s', (dialect, cases) => {
  it.each(cases)('are found where it has %s', (_title, sql, names) => {
    expect(namesIn(sql, RULES[dialect])).toEqual(names);
    expect(scannedSql(sql, RULES[dialect]).isClear).toBe(true);
  });
});

describe('SQL that can be read in several ways', () => {
  it.each<[keyof typeof RULES, string]>([
    ['PostgreSQL', "'\\' a '\\'"],
    ['PostgreSQL', "b ESCAPE '\\'' a"],
    ['PostgreSQL', "e'b'\n'\\' a '"],
    ['PostgreSQL', "' a"],
    ['PostgreSQL', '" a'],
    ['PostgreSQL', '$b$ a'],
    ['PostgreSQL', '/* /* */ a'],
    ['SQLite', "' a"],
    ['SQLite', '[ a'],
    ['SQLite', '` a'],
    ['SQLite', '/* a'],
    ['SQLite', "$b(') a @c(')"],
    ['MySQL', "'\\' a '\\'"],
    ['MySQL', '"\\" a "\\"'],
    ['MySQL', '` a'],
    ['MySQL', "/*! a ' */ '"],
    ['MySQL', "/*!50000 ' */ a '"],
    ['MySQL', "/*M! ' */ a '"],
    ['MySQL', "b/*! ' */ . /* ' */ a"],
    ['MySQL', '/*+ index(b `*/ a `) */'],
    ['MySQL', "{oj a LEFT JOIN b ON '1'}"],
    ['MySQL', 'SELECT STRAIGHT_JOIN a'],
    ['MySQL', 'SELECT a FROM p FOR SYSTEM_TIME ALL x'],
    ['MySQL', 'SELECT sql_no_cache * FROM a'],
    ['MySQL', 'SELECT .b.a'],
  ])('is not clear on %s, and hides no name: %j', (dialect, sql) => {
    const rules = RULES[dialect];
    expect(scannedSql(sql, rules)).toMatchObject({ isClear: false, isWhole: false });
    expect(namesIn(sql, rules).flatMap((name) => name.split('.'))).toContain('a');
  });

  it.each(Object.entries(RULES))('is not whole on %s where a comment stands in it', (_, rules) => {
    for (const sql of ['a -- b', 'a /* b */', '/**/', '(a', 'a)']) {
      expect(scannedSql(sql, rules).isWhole).toBe(false);
    }
    expect(scannedSql("(a = 'b') - -1", rules).isWhole).toBe(true);
  });

  it.each(Object.entries(RULES))('keeps qualified names together on %s', (_, rules) => {
    const quote = rules === mysqlRules ? '`' : '"';
    const name = ['a', 'b'].map((part) => quote + part + quote).join('.');
    for (const sql of [`/* ${name}`, `' ${name}`]) {
      expect(scannedSql(sql, rules).isClear).toBe(false);
      expect(namesIn(sql, rules)).toContain('a.b');
    }
  });
});
