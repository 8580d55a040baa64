import { describePostgresAndSqlite } from '../support/databases';
import { Cleanup } from '../support/protected-database';
import { NOTED_THREADS, ThreadScript } from '../support/thread-script';

/** Reads 2,600 rows with four encrypted columns that a thread can send, and two that it cannot. */
const READER = `${NOTED_THREADS}
const crypto = require('node:crypto');
const { isDeepStrictEqual, inspect } = require('node:util');
const { setTimeout: sleep } = require('node:timers/promises');
const { DataSource, EntitySchema } = require('typeorm');
const { encryptedColumn, fieldEncryption, localKms, withFieldEncryption } = require('typeorm-field-encryption');
const Account = new EntitySchema({
  name: 'Account',
  columns: {
    id: { type: Number, primary: true },
    email: encryptedColumn({ check: false, nullable: true }),
    visits: encryptedColumn({ check: false, type: 'number' }),
    balance: encryptedColumn({ check: false, type: 'bigint' }),
    bornOn: encryptedColumn({ check: false, type: 'date' }),
    tags: encryptedColumn({ check: false, type: 'json' }),
    photo: encryptedColumn({ check: false, type: 'bytes', storage: 'binary' }),
  },
});
const longest = 'canary '.repeat(5000);
// Threads begin with the last rows.
const account = (id) => ({
  id,
  email: id % 7 === 0 ? null : (id === 2550 ? longest : 'canary \\u00e4 \\u{1f98a} ') + id,
  visits: id % 5 === 0 ? -0 : id / 3,
  balance: -(BigInt(id) ** 5n),
  bornOn: new Date(id * 1e7),
  tags: { canary: [id] },
  photo: Buffer.from('canary ' + id),
});
const ROWS = 2600;
const open = (readThreads) => withFieldEncryption(
  new DataSource({ ...JSON.parse(process.env.DATABASE), entities: [Account] }),
  { kms: localKms({ keyFile: process.env.KEY_FILE }), readThreads },
).initialize();
const all = (repository) => repository.find({ order: { id: 'ASC' } });
const right = (rows) => rows.length === ROWS && rows.every((row, i) => isDeepStrictEqual({ ...row }, account(i + 1)));
/** Asks until threads have loaded their code and were asked. */
async function untilAsked(repository) {
  const before = seen.asked;
  const answers = [];
  while (seen.asked === before) {
    answers.push(right(await all(repository)));
    await sleep(5);
  }
  return answers.every(Boolean);
}
const { createDecipheriv } = crypto;
let opened = 0;
crypto.createDecipheriv = (...args) => {
  opened += 1;
  return createDecipheriv(...args);
};
/** Whether a read comes that has left values to threads, all of which would be opened here otherwise. */
async function isHelped(repository) {
  for (let attempt = 0; attempt < 100; attempt++) {
    opened = 0;
    const rows = await all(repository);
    const values = rows.length * 5 + rows.filter(({ email }) => email !== null).length;
    if (!right(rows) || opened > values) return false;
    if (opened < values) return true;
    await sleep(5);
  }
  return false;
}
const failure = (promise) => promise.then(() => undefined, ({ code, entity, property, message }) => ({ code, entity, property, message }));

const checks = {
  async manyValues(accounts) {
    const answers = await untilAsked(accounts);
    return { answers, started: seen.started, again: right(await all(accounts)), helped: await isHelped(accounts) };
  },
  async severalAtOnce(accounts) {
    const results = await Promise.all([1, 2, 3].map(() => all(accounts)));
    return results.every(right);
  },
  async rotated(accounts, dataSource) {
    const { version } = await fieldEncryption(dataSource).keys.rotate();
    await accounts.save([account(1), account(ROWS)].map((row) => ({ ...row, email: row.email + '!' })));
    const rows = await all(accounts);
    await accounts.save([account(1), account(ROWS)]);
    return { version, emails: [rows[0].email, rows[ROWS - 1].email], right: right(await all(accounts)) };
  },
  async rawRows(accounts) {
    const { raw, entities } = await accounts.createQueryBuilder('a').orderBy('a.id').getRawAndEntities();
    const bytes = raw.every((row) => Buffer.isBuffer(row.a_photo));
    const texts = raw.flatMap((row) => [row.a_email, row.a_visits, row.a_balance, row.a_bornOn, row.a_tags]);
    return { right: right(entities), stored: bytes && texts.every((text) => text === null || /^A[Q-Za-f][A-Za-z0-9_-]+$/.test(text)) };
  },
  async fewValues(accounts) {
    const before = seen.asked;
    const rows = await accounts.find({ take: 2400, order: { id: 'ASC' } });
    return { asked: seen.asked - before, length: rows.length };
  },
  async someColumns(accounts) {
    const before = seen.asked;
    const rows = await accounts.find({ select: { id: true, email: true } });
    return { asked: seen.asked - before, length: rows.length, first: Object.keys(rows[0]) };
  },
  async threadThatDies(accounts) {
    const reading = Promise.all([all(accounts), all(accounts)]);
    // Whoever ends a thread without the library waits for that alone: nothing else keeps the process alive.
    const alive = setTimeout(() => {}, 60_000);
    for (const thread of seen.living) if (hasLoaded(thread)) await thread.terminate();
    const results = await reading;
    clearTimeout(alive);
    return results.every(right) && (await untilAsked(accounts));
  },
  async keyOutOfUse(accounts, dataSource) {
    const [{ id }] = await dataSource.query("SELECT id FROM data_keys WHERE purpose = 'data' AND version = 1");
    const away = 'ffffffffffffffff';
    const rename = (from, to) => dataSource.query("UPDATE data_keys SET id = '" + to + "' WHERE id = '" + from + "'");
    const { now } = performance;
    let passed = 0;
    performance.now = () => now.call(performance) + passed;
    await untilAsked(accounts);
    await rename(id, away);
    passed += 86_400_000;
    const before = seen.asked;
    const { code } = await failure(all(accounts));
    const asked = seen.asked - before;
    await rename(away, id);
    passed += 86_400_000;
    const again = right(await all(accounts));
    performance.now = now;
    return { code, asked, again };
  },
  async destroyed() {
    const other = await open(1);
    const accounts = other.getRepository(Account);
    await untilAsked(accounts);
    const before = seen.asked;
    const reading = all(accounts).then((rows) => (right(rows) ? 'right' : 'wrong'), ({ code }) => code);
    while (seen.asked === before) await new Promise(setImmediate);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200); // the answers are there, unseen
    await other.destroy();
    return reading;
  },
  async damagedValue(accounts, dataSource) {
    const table = dataSource.driver.escape('account'), email = dataSource.driver.escape('email');
    const [{ stored }] = await dataSource.query('SELECT ' + email + ' AS stored FROM ' + table + ' WHERE id = 2599');
    const at = stored.length - 20;
    const put = (value) => dataSource.query('UPDATE ' + table + ' SET ' + email + " = '" + value + "' WHERE id = 2599");
    const flipped = stored.slice(0, at) + (stored[at] === 'A' ? 'B' : 'A') + stored.slice(at + 1);
    const failures = [];
    for (const value of [flipped, stored.slice(0, 40) + '\\n' + stored.slice(41), stored.slice(0, 20), 'in clear'])  {
      await put(value);
      failures.push(await failure(all(accounts)));
    }
    await put(stored);
    return { failures, right: right(await all(accounts)) };
  },
};

let under;
process.once('exit', () => {
  if (under !== undefined && process.exitCode === undefined) {
    console.error('nothing kept the process alive: ' + under);
    process.exitCode = 1;
  }
});

(async () => {
  const results = {};
  const dataSource = await open(1);
  const accounts = dataSource.getRepository(Account);
  for (let id = 1; id <= ROWS; id += 100) await accounts.insert(Array.from({ length: 100 }, (_, i) => account(id + i)));
  for (const [name, check] of Object.entries(checks)) {
    under = name;
    results[name] = await check(accounts, dataSource);
  }
  await dataSource.destroy();
  results.left = seen.living.size;
  const { started } = seen;
  const without = await open(0);
  results.without = { right: right(await all(without.getRepository(Account))), started: seen.started - started };
  await without.destroy();
  seen.refuse = true;
  const refused = await open(1);
  results.refused = right(await all(refused.getRepository(Account))) && right(await all(refused.getRepository(Account)));
  await refused.destroy();
  under = undefined;
  process.stdout.write(JSON.stringify(results));
})().catch((error) => { console.error(inspect(error)); process.exitCode = 1; });
`;

interface Failure {
  readonly code: string;
  readonly entity: string;
  readonly property: string;
  readonly message: string;
}

interface Results {
  readonly manyValues: { answers: boolean; started: number; again: boolean; helped: boolean };
  readonly severalAtOnce: boolean;
  readonly rotated: { version: number; emails: string[]; right: boolean };
  readonly rawRows: { right: boolean; stored: boolean };
  readonly fewValues: { asked: number; length: number };
  readonly someColumns: { asked: number; length: number; first: string[] };
  readonly threadThatDies: boolean;
  readonly damagedValue: { failures: Failure[]; right: boolean };
  readonly left: number;
  readonly refused: boolean;
  readonly keyOutOfUse: { code: string; asked: number; again: boolean };
  readonly destroyed: string;
  readonly without: { right: boolean; started: number };
}

const script = new ThreadScript(READER);

describePostgresAndSqlite('reading very many values with a thread', (kind) => {
  const cleanup = new Cleanup();
  let results: Results;

  beforeAll(async () => {
    results = await script.run(await cleanup.create(kind, {}));
  }, 120_000);
  afterAll(() => cleanup.run());

  it('gives the same values, of all types, and NULL', () => {
    expect(results.manyValues).toEqual({ answers: true, started: 1, again: true, helped: true });
  });

  it('gives each of several readers their own', () => {
    expect(results.severalAtOnce).toBe(true);
  });

  it('reads values under several keys', () => {
    expect(results.rotated).toEqual({
      version: 2,
      emails: ['canary ä 🦊 1!', 'canary ä 🦊 2600!'],
      right: true,
    });
  });

  it('leaves raw rows as the database holds them', () => {
    expect(results.rawRows).toEqual({ right: true, stored: true });
  });

  it('asks no thread for fewer than 10,000 values', () => {
    expect(results.fewValues).toEqual({ asked: 0, length: 2400 });
    expect(results.someColumns).toEqual({ asked: 0, length: 2600, first: ['id', 'email'] });
  });

  it('goes on without a thread that dies, and starts another', () => {
    expect(results.threadThatDies).toBe(true);
  });

  it('never reads with a key that a thread still has and this one may not use', () => {
    expect(results.keyOutOfUse).toEqual({ code: 'ERR_KEY_NOT_FOUND', asked: 0, again: true });
  });

  it('never gives ciphertext for values when the DataSource is destroyed meanwhile', () => {
    expect(['right', 'ERR_CONFIGURATION']).toContain(results.destroyed);
  });

  it('says what is wrong with a value as ever', () => {
    const field = { entity: 'Account', property: 'email', message: expect.any(String) as string };
    expect(results.damagedValue).toEqual({
      failures: [
        { code: 'ERR_DECRYPTION', ...field },
        { code: 'ERR_CIPHERTEXT_MALFORMED', ...field },
        { code: 'ERR_CIPHERTEXT_MALFORMED', ...field },
        { code: 'ERR_PLAINTEXT_FOUND', ...field },
      ],
      right: true,
    });
    expect(JSON.stringify(results.damagedValue)).not.toContain('canary');
  });

  it('ends the thread with the DataSource', () => {
    expect(results.left).toBe(0);
  });

  it('does without where there are none to be had', () => {
    expect(results.refused).toBe(true);
  });

  it('starts none where none are wanted', () => {
    expect(results.without).toEqual({ right: true, started: 0 });
  });
});
