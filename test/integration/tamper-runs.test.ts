import { Entity, PrimaryColumn } from 'typeorm';
import type { DataSource } from 'typeorm';
import { BlindIndex, Encrypted, fieldEncryption, RunPlanError } from '../../src';
import type { RunReport } from '../../src';
import { describeDiagonal } from '../support/databases';
import { useEncryptedDatabase } from '../support/encrypted-database';
import { rejection } from '../support/protected-database';
import { sqlOf } from '../support/sql-of';

/** Three ranges of 10 pages of two rows. */
const ROWS = 60;
const PAGE = 2;

@Entity()
class Entry {
  @PrimaryColumn() id!: number;
  @Encrypted() @BlindIndex() text!: string;
}

@Entity()
class Named {
  @PrimaryColumn({ type: 'varchar', length: 40 }) name!: string;
  @Encrypted() @BlindIndex() text!: string;
}

/** What somebody writes into a cell of a range that is not done. */
type Garbage = readonly [column: string, value: unknown];

const ANYWHERE: readonly Garbage[] = [
  ...['lower_key', 'upper_key', 'cursor_key'].flatMap((column): Garbage[] => [
    [column, 'nonsense'],
    [column, '["1'],
    [column, '{"a":1}'],
    [column, '5'],
    [column, '[]'],
    [column, '["1","2"]'],
    [column, '["abc"]'],
    [column, '[1]'],
    [column, '[null]'],
    [column, '[{"bytes":5}]'],
    [column, '[{"bytes":"/w=="}]'],
    [column, '["99999999999999999999"]'],
  ]),
  ['done', 2],
  ['done', -1],
  ['fence', -1],
  ['fence', 2_147_483_647],
  ['seq', -1],
  ['seq', 2_147_483_647],
  ['changed', -1],
  ['changed', 2_147_483_647],
  ['lost', 2_147_483_647],
  ['lease_until', -1],
];

/** SQLite keeps values of any type in any column. */
const ON_SQLITE: readonly Garbage[] = [
  ...['done', 'fence', 'seq', 'changed', 'lost', 'lease_until'].flatMap((column): Garbage[] => [
    [column, 'abc'],
    [column, 0.5],
    [column, Buffer.from('abc')],
  ]),
  ...['lower_key', 'upper_key', 'cursor_key', 'owner'].map((column): Garbage => [
    column,
    Buffer.from('[1]'),
  ]),
];

describeDiagonal('A run whose rows were tampered with', (kind) => {
  const database = useEncryptedDatabase(kind, { entities: [Entry, Named] });
  const isSqlite = kind.dialect === 'sqlite';
  const cases = isSqlite ? [...ANYWHERE, ...ON_SQLITE] : ANYWHERE;
  let dataSource: DataSource;

  beforeEach(async () => {
    dataSource = database.dataSource;
    const numbers = Array.from({ length: ROWS }, (_, i) => i + 1);
    const texts = numbers.map((id) => ({ id, text: `canary ${String(id)}` }));
    await dataSource.getRepository(Entry).insert(texts);
  });

  /** Reindexes, which no count in SQL looks after, until there are a range that is done and one that is not. */
  async function interrupted(entity: 'Entry' | 'Named' = 'Entry'): Promise<void> {
    const controller = new AbortController();
    const { aborted } = await fieldEncryption(dataSource).reindex({
      entities: [entity],
      batchSize: PAGE,
      signal: controller.signal,
      onProgress: ({ scanned }) => {
        if (scanned > 42) controller.abort();
      },
    });
    expect(aborted).toBe(true);
    expect(await dataSource.query('SELECT * FROM field_encryption_ranges')).not.toHaveLength(0);
  }

  /** Makes every token of the table wrong, so that a row that was left out shows. */
  async function spoilTokens(table = 'entry'): Promise<void> {
    await dataSource.query(`UPDATE ${table} SET text_bidx = 'wrong'`);
  }

  async function write(table: string, [column, value]: Garbage, where: string): Promise<void> {
    await dataSource.query(sqlOf(kind, `UPDATE ${table} SET ${column} = $1 WHERE ${where}`), [
      value,
    ]);
  }

  function writeRange(garbage: Garbage, where = 'done = 0'): Promise<void> {
    const first = `SELECT MIN(seq) FROM field_encryption_ranges WHERE ${where}`;
    return write('field_encryption_ranges', garbage, `seq = (${first})`);
  }

  function goOn(restart = false, entity = 'Entry'): Promise<RunReport> {
    return fieldEncryption(dataSource).reindex({ entities: [entity], batchSize: PAGE, restart });
  }

  async function expectRefused(table: string, column: string, entity = 'Entry'): Promise<void> {
    const error = await rejection(goOn(false, entity));
    expect(error).toBeInstanceOf(RunPlanError);
    expect(error).toMatchObject({ code: 'ERR_RUN_PLAN' });
    expect(error.message).toContain(table);
    expect(error.message).toContain(`${column} of `);
    expect(error.message).toContain('--restart');
    expect(error.cause).toBeInstanceOf(Error);
  }

  async function expectDoneByRestart(entity = 'Entry'): Promise<void> {
    expect(await goOn(true, entity)).toMatchObject({ failed: 0, conflicts: 0, aborted: false });
    expect(await fieldEncryption(dataSource).verify({ entities: [entity] })).toMatchObject({
      scanned: ROWS,
      failed: 0,
    });
    expect(await dataSource.query('SELECT * FROM field_encryption_ranges')).toEqual([]);
  }

  it.each(cases)('is refused for %s = %p, and no row is taken for done', async (column, value) => {
    await interrupted();
    await writeRange([column, value]);
    await spoilTokens();
    await expectRefused('field_encryption_ranges', column);
    await expectDoneByRestart();
  });

  it('is refused for the counters of a range that is done', async () => {
    for (const column of ['changed', 'lost']) {
      await interrupted();
      await writeRange([column, isSqlite ? 'abc' : -7], 'done = 1');
      await expectRefused('field_encryption_ranges', column);
      await expectDoneByRestart();
    }
  });

  it('is refused for the end of the last range, where that is done', async () => {
    await interrupted();
    await dataSource.query('UPDATE field_encryption_ranges SET done = 1');
    await write(
      'field_encryption_ranges',
      ['upper_key', '["abc"]'],
      'seq = (SELECT MAX(seq) FROM field_encryption_ranges)',
    );
    await expectRefused('field_encryption_ranges', 'upper_key');
    await expectDoneByRestart();
  });

  it('goes on with a range that is leased for ever', async () => {
    await interrupted();
    await writeRange(['lease_until', '4611686018427387']);
    await dataSource.query(`UPDATE field_encryption_ranges SET owner = 'elsewhere:1:ab'`);
    expect(await goOn()).toMatchObject({ resumed: true, failed: 0 });
    expect(await fieldEncryption(dataSource).verify()).toMatchObject({ scanned: ROWS, failed: 0 });
  });

  const textKeys: readonly string[] = ['[5]', '[{"bytes":"/w=="}]', '["a","b"]', '[[]]'];
  it.each(textKeys)('is refused for a checkpoint of %s, where the key is a text', async (key) => {
    await dataSource.getRepository(Named).insert(
      Array.from({ length: ROWS }, (_, i) => ({
        name: `n${String(i).padStart(3, '0')}`,
        text: 'canary',
      })),
    );
    await interrupted('Named');
    await writeRange(['cursor_key', key]);
    await spoilTokens('named');
    await expectRefused('field_encryption_ranges', 'cursor_key', 'Named');
    await expectDoneByRestart('Named');
  });

  const runs: readonly Garbage[] = [
    ['pass', -1],
    ['pass', 2_147_483_647],
    ...(isSqlite
      ? ([
          ['pass', 'abc'],
          ['pass', 0.5],
          ['id', Buffer.from('abc')],
          ['structure', Buffer.from('abc')],
          ['started_at', Buffer.from('abc')],
          ['ended_at', Buffer.from('abc')],
        ] as const)
      : []),
  ];
  it.each(runs)('is refused for its %s = %p', async (column, value) => {
    await interrupted();
    await write('field_encryption_runs', [column, value], "state = 'running'");
    await spoilTokens();
    await expectRefused('field_encryption_runs', column);
    expect(await goOn(true)).toMatchObject({ failed: 0, resumed: false });
    expect(await fieldEncryption(dataSource).verify()).toMatchObject({ scanned: ROWS, failed: 0 });
  });

  it.each(['mode', 'table_path', 'scope', 'state'])(
    'begins anew where its %s is another',
    async (column) => {
      await interrupted();
      await write('field_encryption_runs', [column, 'hacked'], '1 = 1');
      await spoilTokens();
      expect(await goOn()).toMatchObject({ failed: 0, resumed: false });
      expect(await fieldEncryption(dataSource).verify()).toMatchObject({
        scanned: ROWS,
        failed: 0,
      });
    },
  );

  it('ends with an error where its state becomes another while it works', async () => {
    await spoilTokens();
    let isTampered = false;
    const error = await rejection(
      fieldEncryption(dataSource).reindex({
        batchSize: PAGE,
        pauseWhile: async () => {
          if (!isTampered)
            await dataSource.query(`UPDATE field_encryption_runs SET state = 'over'`);
          isTampered = true;
          return false;
        },
      }),
    );
    expect(error).toBeInstanceOf(RunPlanError);
    expect(error.message).toContain('state of run');
    await expectDone();
  });

  async function expectDone(): Promise<void> {
    expect(await goOn()).toMatchObject({ failed: 0 });
    expect(await fieldEncryption(dataSource).verify()).toMatchObject({ scanned: ROWS, failed: 0 });
  }
});
