import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import ts from 'typescript';

const root = join(__dirname, '..', '..');

/** The one folder that knows which databases there are. */
const PORT = 'src/typeorm/dialect/';

const DRIVERS = ['better-sqlite3', 'sqlite', 'postgres', 'mysql', 'mariadb'];
const COMPARISONS = [
  ts.SyntaxKind.EqualsEqualsEqualsToken,
  ts.SyntaxKind.ExclamationEqualsEqualsToken,
];

/** Returns what a file says of databases that only the port may, one line each. */
function asksForDriver(file: string, text: string): string[] {
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);
  const found: string[] = [];
  const visit = (node: ts.Node): void => {
    const isDriver = ts.isStringLiteralLike(node) && DRIVERS.includes(node.text);
    const isComparison =
      ts.isBinaryExpression(node) &&
      COMPARISONS.includes(node.operatorToken.kind) &&
      [node.left, node.right].some((side) => /\boptions\.type$/.test(side.getText()));
    const isFlag = ts.isIdentifier(node) && /^is(Postgres|Sqlite|Mysql|Maria)/i.test(node.text);
    if (isDriver || isComparison || isFlag) {
      const { line } = source.getLineAndCharacterOfPosition(node.getStart());
      found.push(`${file}:${String(line + 1)} ${node.getText()}`);
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

function sources(): string[] {
  return ['src', 'migrations'].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
      .filter(({ name }) => name.endsWith('.ts'))
      .map(({ parentPath, name }) => relative(root, join(parentPath, name))),
  );
}

describe('What differs between databases', () => {
  it('is asked of the port, so that nothing else knows their drivers', () => {
    const elsewhere = sources().filter((file) => !file.startsWith(PORT));

    const found = elsewhere.flatMap((file) =>
      asksForDriver(file, readFileSync(join(root, file), 'utf8')),
    );

    expect(found).toEqual([]);
  });

  it.each([
    ["dataSource.options.type === 'postgres'", 2],
    ["const TYPES = ['better-sqlite3'];", 1],
    ['if (a !== driver.options.type) b();', 1],
    ['const isSqlite = false;', 1],
    ['// options.type === postgres', 0],
    ['const type = options.type ?? other;', 0],
  ])('would be found in: %s', (text, times) => {
    expect(asksForDriver('planted.ts', text).length).toBe(times);
  });
});
