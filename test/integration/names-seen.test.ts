import fc from 'fast-check';
import { DataSource } from 'typeorm';
import { dialectOf } from '../../src/typeorm/dialect/dialect-of';
import { withinGroups } from '../../src/typeorm/sql/sql-clauses';
import { scannedSql } from '../../src/typeorm/sql/sql-scanner';
import { describeEachDatabase } from '../support/databases';
import type { TestDatabase } from '../support/databases';

/** A column that the table does not have, so that the database complains where it reads the name. */
const WANTED = 'zq';

const NOISE = [
  ...[
    "'",
    '"',
    '`',
    '[',
    ']',
    '\\',
    '$',
    '$a$',
    '#',
    '!',
    '@',
    '?',
    '.',
    ':',
    '(',
    ')',
    "e'",
    "''",
  ],
  ...['--', '-- ', '/*', '*/', '/*!', '/*+', '\r', '\n', ' ', 'a', '1', WANTED, ` ${WANTED} `],
];

const noise = fc.array(fc.constantFrom(...NOISE), { maxLength: 5 }).map((parts) => parts.join(''));

function around(begin: string, end: string): fc.Arbitrary<string> {
  return noise.map((text) => begin + text + end);
}

const gap = fc.oneof(
  { weight: 4, arbitrary: fc.constant(' ') },
  around('/*', '*/'),
  around('--', '\n'),
  around('--', '\r'),
  around('#', '\n'),
  around('/*!', '*/'),
  around('/*+', '*/'),
  fc.constantFrom('', '\u00a0', '\ufeff', '\v'),
);

const operand = fc.oneof(
  fc.constantFrom('x', '1', '.5', '1.', '0x1', '1e1', WANTED, `t.${WANTED}`, `t . ${WANTED}`),
  around("'", "'"),
  around('"', '"'),
  around('`', '`'),
  around('[', ']'),
  around("e'", "'"),
  around("n'", "'"),
  around('$a$', '$a$'),
  around('$$', '$$'),
  noise,
);

const operator = fc.constantFrom(
  '=',
  '<>',
  '||',
  '-',
  '--',
  '+',
  ' or ',
  ' and ',
  '::text=',
  ' is ',
);

const condition = fc
  .array(fc.tuple(operand, gap, operator, gap), { minLength: 1, maxLength: 4 })
  .map((parts) => `${parts.flat().join('')} x`);

describeEachDatabase('hand-written SQL, at random', (kind) => {
  let database: TestDatabase;
  let dataSource: DataSource;

  beforeAll(async () => {
    database = await kind.create();
    dataSource = await new DataSource(database.dataSourceOptions).initialize();
    await dataSource.query('CREATE TABLE t (x varchar(10))');
  });

  afterAll(async () => {
    await dataSource.destroy();
    await database.dispose();
  });

  /** Whether the database reads the name in a condition. */
  async function isRead(sql: string): Promise<boolean> {
    try {
      await dataSource.query(`SELECT 1 FROM t WHERE ${sql}`);
      return false;
    } catch (error) {
      const { message } = error as Error;
      return (
        /no such column|does not exist|unknown column/i.test(message) && message.includes(WANTED)
      );
    }
  }

  function isSeen(sql: string): boolean {
    const { nodes, isClear } = scannedSql(sql, dialectOf(dataSource).lexicalRules);
    if (!isClear) return true;
    return [...withinGroups(nodes)]
      .flat()
      .some((node) => node.kind === 'name' && node.parts.some((part) => part.includes(WANTED)));
  }

  it('hides no name that the database reads', async () => {
    let timesRead = 0;
    await fc.assert(
      fc.asyncProperty(condition, async (sql) => {
        if (!(await isRead(sql))) return;
        timesRead += 1;
        expect(isSeen(sql)).toBe(true);
      }),
      { numRuns: 5000 },
    );
    expect(timesRead).toBeGreaterThan(20);
  });
});
