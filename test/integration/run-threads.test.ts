import { describePostgresAndSqlite } from '../support/databases';
import { Cleanup } from '../support/protected-database';
import { NOTED_THREADS, ThreadScript } from '../support/thread-script';

const ROWS = 3000;

/** Moves rows with a column that a thread can move and one that it cannot. */
const RUNNER = `${NOTED_THREADS}
const { isDeepStrictEqual, inspect } = require('node:util');
const { DataSource, EntitySchema } = require('typeorm');
const { encryptedColumn, fieldEncryption, localKms, withFieldEncryption } = require('typeorm-field-encryption');
const Letter = new EntitySchema({
  name: 'Letter',
  columns: {
    id: { type: Number, primary: true },
    text: encryptedColumn({ check: false, nullable: true }),
    seal: encryptedColumn({ check: false, type: 'bytes', storage: 'binary' }),
  },
});
const ROWS = ${String(ROWS)};
const letter = (id) => ({
  id,
  text: id % 7 === 0 ? null : (id === 50 ? 'canary '.repeat(5000) : 'canary \\u00e4 \\u{1f98a} ') + id,
  seal: Buffer.from('canary ' + id),
});

(async () => {
  const dataSource = await withFieldEncryption(
    new DataSource({ ...JSON.parse(process.env.DATABASE), entities: [Letter] }),
    { kms: localKms({ keyFile: process.env.KEY_FILE }) },
  ).initialize();
  const letters = dataSource.getRepository(Letter), { keys } = fieldEncryption(dataSource);
  for (let id = 1; id <= ROWS; id += 100) await letters.insert(Array.from({ length: 100 }, (_, i) => letter(id + i)));

  const right = async () => (await letters.find({ order: { id: 'ASC' } })).every((row, i) => isDeepStrictEqual({ ...row }, letter(i + 1)));
  /** Moves all rows to a new key; with threads, only when they have loaded their code. */
  const moved = async (options) => {
    const before = { ...seen };
    const loading = () => seen.ready - before.ready < options.threads && !seen.refuse;
    await keys.rotate();
    const { changed, failed, failures, remaining } = await fieldEncryption(dataSource).reencrypt({ batchSize: 100, pauseWhile: options.threads ? loading : () => false, ...options });
    return { changed, failed, failures, remaining, started: seen.started - before.started, asked: seen.asked > before.asked };
  };
  /** Stops a run before its threads have loaded their code. */
  const stoppedWhileLoading = async () => {
    const before = { ...seen }, stop = new AbortController();
    await keys.rotate();
    await fieldEncryption(dataSource).reencrypt({ threads: 2, signal: stop.signal, pauseWhile: () => { stop.abort(); return false; } });
    await Promise.all(seen.exits);
    return { started: seen.started - before.started, endedLoading: seen.endedLoading, left: seen.living.size };
  };
  const table = dataSource.driver.escape('letter'), text = dataSource.driver.escape('text');
  const stored = async (id) => (await dataSource.query('SELECT ' + text + ' AS stored FROM ' + table + ' WHERE id = ' + id))[0].stored;
  const put = (id, value) => dataSource.query('UPDATE ' + table + ' SET ' + text + " = '" + value + "' WHERE id = " + id);

  const results = {};
  results.moved = await moved({ threads: 2 });
  await Promise.all(seen.exits);
  results.left = seen.living.size;
  results.without = await moved({ threads: 0 });
  results.fewRows = await moved({});
  const before = seen.started;
  await fieldEncryption(dataSource).verify({ threads: 2 });
  results.verifying = seen.started - before;
  seen.onAsked = (thread) => void thread.terminate();
  results.dying = await moved({ threads: 2 });
  seen.onAsked = () => {};
  seen.refuse = true;
  results.refused = await moved({ threads: 2 });
  seen.refuse = false;
  results.right = await right();
  results.stopped = await stoppedWhileLoading();

  const intact = [await stored(2901), await stored(2902), await stored(2903)];
  const at = intact[0].length - 20;
  await put(2901, intact[0].slice(0, at) + (intact[0][at] === 'A' ? 'B' : 'A') + intact[0].slice(at + 1));
  await put(2902, intact[1].slice(0, 40) + '\\n' + intact[1].slice(41));
  await put(2903, await stored(2904).then((other) => other.slice(0, 20)));
  results.damaged = await moved({ threads: 2 });
  for (const [i, value] of intact.entries()) await put(2901 + i, value);
  results.mended = await moved({ threads: 2 });
  results.rightAgain = await right();
  await dataSource.destroy();
  process.stdout.write(JSON.stringify(results));
})().catch((error) => { console.error(inspect(error)); process.exitCode = 1; });
`;

interface Moved {
  readonly changed: number;
  readonly failed: number;
  readonly failures: readonly { readonly code: string; readonly primaryKey: unknown[] }[];
  readonly remaining: number;
  readonly started: number;
  readonly asked: boolean;
}

interface Results {
  readonly moved: Moved;
  readonly left: number;
  readonly without: Moved;
  readonly fewRows: Moved;
  readonly verifying: number;
  readonly dying: Moved;
  readonly refused: Moved;
  readonly right: boolean;
  readonly stopped: {
    readonly started: number;
    readonly endedLoading: number;
    readonly left: number;
  };
  readonly damaged: Moved;
  readonly mended: Moved;
  readonly rightAgain: boolean;
}

const script = new ThreadScript(RUNNER);

describePostgresAndSqlite('moving rows with threads', (kind) => {
  const cleanup = new Cleanup();
  let results: Results;

  beforeAll(async () => {
    results = await script.run(await cleanup.create(kind, {}));
  }, 120_000);
  afterAll(() => cleanup.run());

  const all = { changed: ROWS, failed: 0, remaining: 0 };

  it('moves all that threads can move and what they cannot, and ends them', () => {
    expect(results.moved).toMatchObject({ ...all, started: 2, asked: true });
    expect(results.left).toBe(0);
    expect(results.right).toBe(true);
  });

  it('starts none where none are wanted, rows are few, or nothing is for them', () => {
    expect(results.without).toMatchObject({ ...all, started: 0, asked: false });
    expect(results.fewRows).toMatchObject({ ...all, started: 0, asked: false });
    expect(results.verifying).toBe(0);
  });

  it('goes on without threads that die, and where there are none to be had', () => {
    expect(results.dying).toMatchObject({ ...all, asked: true });
    expect(results.refused).toMatchObject({ ...all, started: 0, asked: false });
  });

  it('ends threads only when they have loaded their code', () => {
    expect(results.stopped).toEqual({ started: 2, endedLoading: 0, left: 0 });
  });

  it('names the rows that are damaged and moves the others', () => {
    expect(results.damaged).toMatchObject({ changed: ROWS - 3, failed: 3, asked: true });
    expect(results.damaged.failures.map(({ code, primaryKey }) => [primaryKey, code])).toEqual([
      [[2901], 'ERR_DECRYPTION'],
      [[2902], 'ERR_CIPHERTEXT_MALFORMED'],
      [[2903], 'ERR_CIPHERTEXT_MALFORMED'],
    ]);
    expect(results.mended).toMatchObject(all);
    expect(results.rightAgain).toBe(true);
  });
});
