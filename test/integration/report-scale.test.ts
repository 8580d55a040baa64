import { randomBytes } from 'node:crypto';
import { chmodSync } from 'node:fs';
import { loadavg } from 'node:os';
import { EntitySchema } from 'typeorm';
import type { DataSource } from 'typeorm';
import { blindIndexColumns, encryptedColumn, fieldEncryption, localKms } from '../../src';
import type { EvidenceReport } from '../../src';
import { createProject } from '../support/project';
import type { Project } from '../support/project';
import { describeDiagonal, typeormMajor } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { Cleanup, protect } from '../support/protected-database';

/** Rows of all tables together: a million in `npm run test:scale`. */
const ROWS = Number(process.env['REPORT_ROWS'] ?? 4000);
const isLarge = ROWS > 100_000;
/** How much more memory a report of a hundred times the rows may take: the rows of a single table would take more. */
const MOST_GROWTH_MB = 8;
const BOUND_MS = 5000;

const TABLES = Array.from({ length: 10 }, (_, i) => `patients_${String(i)}`);

interface Row {
  id: number;
  note: string | null;
}

const ENTITIES = TABLES.map(
  (name) =>
    new EntitySchema<Row>({
      name,
      columns: {
        id: { type: Number, primary: true },
        note: encryptedColumn({ nullable: true }),
        ...blindIndexColumns('note'),
      },
    }),
);

/** Makes a report to have the SQL of its counts, then measures these counts alone, and another report. */
const REPORTER = `
require('reflect-metadata');
const { DataSource, EntitySchema } = require('typeorm');
const { blindIndexColumns, encryptedColumn, fieldEncryption, localKms, withFieldEncryption } = require('typeorm-field-encryption');
const entities = JSON.parse(process.env.TABLES).map((name) => new EntitySchema({
  name,
  columns: { id: { type: Number, primary: true }, note: encryptedColumn({ nullable: true }), ...blindIndexColumns('note') },
}));
const dataSource = withFieldEncryption(
  new DataSource({ ...JSON.parse(process.env.DATABASE), entities }),
  { kms: localKms({ keyFile: process.env.KEY_FILE }) },
);
const megabytes = () => {
  const { heapUsed, external } = process.memoryUsage();
  return (heapUsed + external) / 2 ** 20;
};
const collected = () => {
  for (let i = 0; i < 3; i++) gc();
  return megabytes();
};
async function timed(work) {
  const start = performance.now();
  const result = await work();
  return [performance.now() - start, result];
}
(async () => {
  await dataSource.initialize();
  const { columns } = await fieldEncryption(dataSource).report();
  const statements = columns.flatMap(({ sql, indexes }) => [sql, ...indexes.map((index) => index.sql)]);
  const [countMs] = await timed(async () => {
    for (const sql of statements) await dataSource.query(sql);
  });
  const before = collected();
  let peak = before;
  const sample = () => (peak = Math.max(peak, megabytes()));
  const sampling = setInterval(sample, 10);
  const [reportMs, report] = await timed(() => fieldEncryption(dataSource).report());
  clearInterval(sampling);
  sample();
  const after = collected();
  await dataSource.destroy();
  process.stdout.write(JSON.stringify({ report, countMs, reportMs, before, after, peak }));
})().catch((error) => { console.error(error); process.exitCode = 1; });
`;

/** Times, and memory in megabytes. */
interface Measured {
  readonly report: EvidenceReport;
  readonly countMs: number;
  readonly reportMs: number;
  readonly before: number;
  readonly after: number;
  readonly peak: number;
}

let project: Project;
let keyFile: string;

beforeAll(() => {
  project = createProject(typeormMajor);
  project.write('reporter.js', REPORTER);
  keyFile = project.write('kek', randomBytes(32).toString('hex'));
  chmodSync(keyFile, 0o600);
});
afterAll(() => project.dispose());

jest.setTimeout(isLarge ? 1_800_000 : 120_000);

describeDiagonal('a report of many rows', (kind) => {
  const cleanup = new Cleanup();
  let database: TestDatabase;
  let dataSource: DataSource;

  beforeEach(async () => {
    database = await cleanup.create(kind, { entities: ENTITIES, synchronize: true });
    dataSource = cleanup.add(protect(database, { kms: localKms({ keyFile }) }));
    await dataSource.initialize();
  });
  afterEach(() => cleanup.run());

  it('counts them all, and takes as much memory as one of few', async () => {
    await plantFour();
    const few = await measured(ROWS / 100);
    const many = await measured(ROWS);
    if (isLarge) process.stdout.write([few, many].map((each) => summary(kind.name, each)).join(''));
    expect(many.peak - few.peak).toBeLessThan(MOST_GROWTH_MB);
    expect(many.after - few.after).toBeLessThan(MOST_GROWTH_MB / 4);
  });

  /** Plants in each table a row under an earlier key, two under the active one, the second without token, and a NULL. */
  async function plantFour(): Promise<void> {
    for (const entity of ENTITIES) {
      await dataSource.getRepository(entity).insert({ id: 0, note: 'earlier' });
    }
    await fieldEncryption(dataSource).keys.rotate();
    for (const entity of ENTITIES) {
      const repository = dataSource.getRepository(entity);
      const { tablePath } = repository.metadata;
      await repository.insert(['newer', 'without', null].map((note, i) => ({ id: i + 1, note })));
      await dataSource.query(`UPDATE ${tablePath} SET note_bidx = NULL WHERE id = 2`);
    }
  }

  /** Copies the rows of each table until all tables have so many, and measures a report of them. */
  async function measured(rows: number): Promise<Measured> {
    const wanted = rows / TABLES.length;
    for (const table of TABLES) {
      const [{ total }] = await dataSource.query(`SELECT COUNT(*) AS total FROM ${table}`);
      for (let copied = Number(total); copied < wanted; copied *= 2) {
        const [by, from] = [String(copied), `${table} WHERE id < ${String(wanted - copied)}`];
        await dataSource.query(
          `INSERT INTO ${table} (id, note, note_bidx) SELECT id + ${by}, note, note_bidx FROM ${from}`,
        );
      }
    }
    const { code, stdout, output } = await project.spawn('node', ['--expose-gc', 'reporter.js'], {
      DATABASE: JSON.stringify({ ...database.dataSourceOptions, synchronize: false }),
      TABLES: JSON.stringify(TABLES),
      KEY_FILE: keyFile,
    });
    expect([code, code === 0 ? '' : output]).toEqual([0, '']);
    const answer = JSON.parse(stdout) as Measured;
    expectCounts(answer.report, wanted);
    return answer;
  }
});

function expectCounts({ columns }: EvidenceReport, rows: number): void {
  const quarter = rows / 4;
  const expected = {
    ...{ rows, nullRows: quarter, cleartextRows: 0 },
    keys: [
      { version: 1, rows: quarter },
      { version: 2, rows: 2 * quarter },
    ],
    indexes: [{ rowsWithoutToken: quarter }],
  };
  expect(columns.map(({ table }) => table)).toEqual(TABLES);
  expect(columns).toMatchObject(TABLES.map(() => expected));
  for (const { sample } of columns) {
    expect(sample.values).toBe(Math.min(20, 3 * quarter));
    expect(sample.verified).toBe(sample.values);
  }
}

function summary(
  database: string,
  { report, countMs, reportMs, before, after, peak }: Measured,
): string {
  const rows = report.columns.reduce((sum, column) => sum + column.rows, 0);
  const bound = countMs + BOUND_MS;
  const [counted, reported, most] = [countMs, reportMs, bound].map((ms) => (ms / 1000).toFixed(2));
  const memory = [before, after, peak].map((megabytes) => megabytes.toFixed(1)).join(', ');
  return (
    `${database}, ${rows.toLocaleString('en-US')} rows: counted in ${counted} s, report in ${reported} s, ` +
    `${reportMs > bound ? 'ABOVE' : 'within'} the bound of ${most} s; ` +
    `MB before, after and at most: ${memory}; load ${loadavg()[0]!.toFixed(2)}\n`
  );
}
