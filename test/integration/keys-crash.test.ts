import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Entity, PrimaryColumn } from 'typeorm';
import type { DataSource } from 'typeorm';
import { BlindIndex, Encrypted, fieldEncryption, localKms } from '../../src';
import { createProject } from '../support/project';
import type { Project } from '../support/project';
import { describeDiagonal, typeormMajor } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { Cleanup, protect } from '../support/protected-database';

@Entity()
class Item {
  @PrimaryColumn() id!: number;
  @Encrypted() @BlindIndex() text!: string;
}

/** Kills itself, as `kill -9` does, right before its Nth statement or KMS call. */
const WORKER = `
require('reflect-metadata');
const { readFileSync } = require('node:fs');
const { DataSource, EntitySchema } = require('typeorm');
const { blindIndexColumns, encryptedColumn, fieldEncryption, localKms, withFieldEncryption } = require('typeorm-field-encryption');
const Item = new EntitySchema({
  name: 'Item',
  columns: { id: { type: Number, primary: true }, text: encryptedColumn(), ...blindIndexColumns('text') },
});
let left = Infinity;
const step = () => { if (--left < 0) process.kill(process.pid, 'SIGKILL'); };
const kms = (file) => {
  const real = localKms({ keyFile: file });
  return {
    name: 'local',
    wrapKey: (...a) => { step(); return real.wrapKey(...a); },
    unwrapKey: (...a) => { step(); return real.unwrapKey(...a); },
    health: () => real.health(),
  };
};
const first = kms(process.env.KEY_FILE);
const second = kms(process.env.OTHER_KEY_FILE);
const dataSource = withFieldEncryption(
  new DataSource({ ...JSON.parse(process.env.DATABASE), entities: [Item] }),
  {
    kms: first,
    otherKms: [second],
    keyPolicies: { '*': { rotation: { kind: 'periodic', everyDays: 1 } } },
    keyCache: { ttlMs: 1, maxAgeMs: 1000 },
    now: () => new Date(Date.now() + Number(process.env.LATER ?? 0)),
  },
);
const createQueryRunner = dataSource.createQueryRunner.bind(dataSource);
dataSource.createQueryRunner = (mode) => {
  const runner = createQueryRunner(mode);
  // SQLite has one for all.
  if (Object.hasOwn(runner, 'query')) return runner;
  const query = runner.query;
  runner.query = function (...a) { step(); return query.apply(this, a); };
  return runner;
};
const wait = () => new Promise((resolve) => setTimeout(resolve, Math.max(0, Number(process.env.START_AT ?? 0) - Date.now())));
(async () => {
  await dataSource.initialize();
  await fieldEncryption(dataSource).ready();
  const { keys } = fieldEncryption(dataSource);
  const backup = process.env.BACKUP && readFileSync(process.env.BACKUP, 'utf8');
  const operations = {
    rotate: () => keys.rotate(),
    rewrap: () => keys.rewrap({ to: second, force: true }),
    maintain: () => keys.maintain(),
    restore: () => keys.restore(backup, { kms: first }),
  };
  await wait();
  left = Number(process.env.CRASH_AT ?? Infinity);
  const rounds = Number(process.env.ROUNDS ?? 1);
  const said = [];
  for (let round = 0; round < rounds; round++) {
    for (const name of process.argv[2].split(',')) {
      try { said.push(await operations[name]()); }
      catch (error) { if (!error.retryable) throw error; }
    }
  }
  left = Infinity;
  await dataSource.destroy();
  process.stdout.write(JSON.stringify(said));
})().catch((error) => { console.error(error); process.exitCode = 1; });
`;

const folder = mkdtempSync(join(tmpdir(), 'field-encryption-crash-'));
const keyFile = join(folder, 'kek');
const otherKeyFile = join(folder, 'other-kek');
let project: Project;

beforeAll(() => {
  writeFileSync(keyFile, randomBytes(32), { mode: 0o600 });
  writeFileSync(otherKeyFile, randomBytes(32), { mode: 0o600 });
  project = createProject(typeormMajor);
  project.write('worker.js', WORKER);
});
afterAll(() => {
  project.dispose();
  rmSync(folder, { recursive: true, force: true });
});

jest.setTimeout(300_000);

describeDiagonal('Keys that many processes change, or die over', (kind) => {
  const cleanup = new Cleanup();
  let database: TestDatabase;
  let dataSource: DataSource;

  beforeEach(async () => {
    database = await cleanup.create(kind, { entities: [Item], synchronize: true });
    dataSource = cleanup.add(fresh({}));
    await dataSource.initialize();
    await dataSource.getRepository(Item).insert([
      { id: 1, text: 'canary one' },
      { id: 2, text: 'canary two' },
    ]);
    await fieldEncryption(dataSource).keys.rotate();
    await dataSource.getRepository(Item).insert({ id: 3, text: 'canary three' });
  });
  afterEach(() => cleanup.run());

  function fresh(overrides: { synchronize?: boolean }): DataSource {
    const kms = localKms({ keyFile });
    const otherKms = [localKms({ keyFile: otherKeyFile })];
    return protect(database, { kms, otherKms }, overrides);
  }

  const env = (more: Record<string, string> = {}): Record<string, string> => ({
    DATABASE: JSON.stringify({
      ...database.dataSourceOptions,
      entities: undefined,
      synchronize: false,
    }),
    KEY_FILE: keyFile,
    OTHER_KEY_FILE: otherKeyFile,
    ...more,
  });

  /** A process that was not there before reads every row, finds by index, and can write. */
  async function expectAllWell(): Promise<void> {
    const other = fresh({ synchronize: false });
    await other.initialize();
    try {
      const items = other.getRepository(Item);
      const found = await items.find({ order: { id: 'ASC' } });
      const texts = ['canary one', 'canary two', 'canary three'];
      expect(found.map(({ text }) => text)).toEqual(texts);
      expect(await items.findOneByOrFail({ text: 'canary one' })).toMatchObject({ id: 1 });
      const keys = await fieldEncryption(other).keys.list();
      expect(keys.filter(({ state }) => state === 'active')).toHaveLength(1);
      expect(keys.map(({ version }) => version)).toEqual(keys.map((_, at) => at + 1));
      await fieldEncryption(other).ready();
      // Each change of a key has its entry, whenever the process died.
      expect(await fieldEncryption(other).audit.verify()).toMatchObject({ ok: true });
    } finally {
      await other.destroy();
    }
  }

  /** Crashes before a step, one after the other, until an operation gets to its end. Answers the number of steps. */
  async function crashAtEveryStep(
    operation: string,
    more: Record<string, string> = {},
    before: () => Promise<void> = () => Promise.resolve(),
  ): Promise<number> {
    // The steps are the same with both majors of TypeORM: every other one with each of them.
    for (let at: number = typeormMajor; at < 100; at += 2) {
      await before();
      const { code, output } = await project.run(
        'node',
        ['worker.js', operation],
        env({ ...more, CRASH_AT: String(at) }),
      );
      await expectAllWellAfter(operation);
      if (code === 0) return at;
      expect({ code, output }).toEqual({ code: null, output: '' });
    }
    throw new Error('never came to its end');
  }

  /** A restore that died has brought back none of the three lost keys, or all of them. */
  async function expectAllWellAfter(operation: string): Promise<void> {
    if (operation !== 'restore') {
      await expectAllWell();
      return;
    }
    const rows: unknown[] = await dataSource.query('SELECT id FROM data_keys');
    expect([3, 6]).toContain(rows.length);
  }

  it('survive a crash at every step of a rotation', async () => {
    expect(await crashAtEveryStep('rotate')).toBeGreaterThan(5);
  });

  it('survive a crash at every step of a rewrap; the next one does the rest', async () => {
    expect(await crashAtEveryStep('rewrap')).toBeGreaterThan(10);
    const { code, output } = await project.run('node', ['worker.js', 'rewrap'], env());
    expect({ code, said: JSON.parse(output) as unknown }).toMatchObject({
      code: 0,
      said: [{ conflicts: 0, failures: [] }],
    });
    await expectAllWell();
  });

  it('survive a crash at every step of maintenance', async () => {
    const later = { LATER: String(2 * 86_400_000) };
    expect(await crashAtEveryStep('maintain', later)).toBeGreaterThan(3);
  });

  it('survive a crash at every step of a restore; nothing or everything is there', async () => {
    await fieldEncryption(dataSource).keys.rotate();
    await fieldEncryption(dataSource).keys.rotate();
    const { file, keys } = await fieldEncryption(dataSource).keys.backup({
      kms: localKms({ keyFile }),
    });
    expect(keys).toBe(6);
    const backup = join(folder, `${database.dataSourceOptions.type}.backup`);
    writeFileSync(backup, file);
    const lost = `DELETE FROM data_keys WHERE purpose = 'data' AND state <> 'active'`;
    const steps = await crashAtEveryStep('restore', { BACKUP: backup }, async () => {
      await dataSource.query(lost);
    });
    expect(steps).toBeGreaterThan(3);
    await expectAllWell();
  });

  it('are one active key and no gap after eight processes rotated, maintained and rewrapped at once', async () => {
    const startAt = String(Date.now() + 8000);
    const outcomes = await Promise.all(
      Array.from({ length: 8 }, (_, at) =>
        project.spawn(
          'node',
          ['worker.js', at % 2 === 0 ? 'rotate,maintain,rewrap' : 'rewrap,rotate,maintain'],
          env({ START_AT: startAt, ROUNDS: '4', LATER: String(at * 86_400_000) }),
        ),
      ),
    );
    for (const { code, output } of outcomes) {
      expect({ code, output: code === 0 ? '' : output }).toEqual({ code: 0, output: '' });
    }
    await expectAllWell();
  });
});
