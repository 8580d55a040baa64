import { randomBytes } from 'node:crypto';
import { chmodSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { DataSource } from 'typeorm';
import { BlindIndex, Encrypted, fieldEncryption, KeyScope, localKms } from '../../src';
import type { RunReport } from '../../src';
import { describeDiagonal, typeormMajor } from '../support/databases';
import type { CommonOptions, TestDatabase } from '../support/databases';
import { createProject } from '../support/project';
import type { Outcome, Project } from '../support/project';
import { Cleanup, protect } from '../support/protected-database';

const ROWS = 600;
const TENANTS = 20;
const KILLS = 3;

/** The entity as it was, and as it is once its values have keys of tenants. */
function entities() {
  @Entity('account')
  class Before {
    @PrimaryColumn() id!: number;
    @Column() tenantId!: number;
    @Encrypted({ id: 'email' }) @BlindIndex() email!: string;
  }

  @Entity('account')
  class Account {
    @PrimaryColumn() id!: number;
    @KeyScope({ kind: 'tenant' }) @Column() tenantId!: number;
    @Encrypted({ id: 'email' }) @BlindIndex() email!: string;
  }
  return { Before, Account };
}

const { Before, Account } = entities();

/** Moves the rows to keys of tenants, and prints the report. Kills itself at any point of a page. */
const WORKER = `
const { Worker } = require('node:worker_threads');
const { Column, DataSource, Entity, PrimaryColumn } = require('typeorm');
const { BlindIndex, Encrypted, KeyScope, fieldEncryption, localKms, withFieldEncryption } = require('typeorm-field-encryption');
class Account {}
const on = (name, ...decorators) => { for (const each of decorators) each(Account.prototype, name); };
on('id', PrimaryColumn('integer'));
on('tenantId', KeyScope({ kind: 'tenant' }), Column('integer'));
on('email', BlindIndex(), Encrypted({ id: 'email', type: 'string' }));
Entity('account')(Account);
const pages = Number(process.env.KILL_AFTER);
const killer = pages > 0 && new Worker(
  \`require('node:worker_threads').parentPort.once('message', (ms) => {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
    process.kill(process.pid, 'SIGKILL');
  })\`,
  { eval: true },
);
let done = 0;
function onProgress() {
  if (!killer) return;
  done += 1;
  if (done === pages) killer.postMessage(Math.random() * 2);
  if (done === pages + 2) process.kill(process.pid, 'SIGKILL');
}
(async () => {
  if (killer) await new Promise((resolve) => killer.once('online', resolve));
  const dataSource = withFieldEncryption(
    new DataSource({ ...JSON.parse(process.env.DATABASE), entities: [Account] }),
    { kms: localKms({ keyFile: process.env.KEY_FILE }), legacyScope: ['Account.email'] },
  );
  await dataSource.initialize();
  const report = await fieldEncryption(dataSource)[process.env.MODE]({ batchSize: 10, onProgress });
  await dataSource.destroy();
  process.stdout.write(JSON.stringify(report));
})().catch((error) => { console.error(error); process.exit(1); });
`;

jest.setTimeout(120_000);

describeDiagonal('A run that moves values to keys of scopes and is killed', (kind) => {
  const cleanup = new Cleanup();
  let project: Project;
  let keyFile: string;
  let database: TestDatabase;
  let online: DataSource;

  beforeAll(() => {
    project = createProject(typeormMajor);
    project.write('worker.js', WORKER);
    keyFile = project.write('kek', randomBytes(32).toString('hex'));
    chmodSync(keyFile, 0o600);
  });
  afterEach(() => cleanup.run());
  afterAll(() => {
    project.dispose();
  });

  async function open(entity: unknown, legacyScope: string[] = []): Promise<DataSource> {
    const options = { kms: localKms({ keyFile }), legacyScope };
    // Gives the column its new CHECK constraint, as a migration does.
    const overrides = { entities: [entity], synchronize: true } as CommonOptions;
    return cleanup.add(await protect(database, options, overrides).initialize());
  }

  function work(mode: 'reencrypt' | 'reindex', pages = 0): Promise<Outcome> {
    return project.spawn('node', ['worker.js'], {
      DATABASE: JSON.stringify(database.dataSourceOptions),
      KEY_FILE: keyFile,
      MODE: mode,
      KILL_AFTER: String(pages),
    });
  }

  it('goes on where it stopped, and loses no row and no write of the application', async () => {
    database = await cleanup.create(kind);
    const before = protect(
      database,
      { kms: localKms({ keyFile }) },
      {
        ...{ entities: [Before], synchronize: true },
      },
    );
    await before.initialize();
    if (kind.dialect === 'sqlite') await before.query('PRAGMA journal_mode = WAL');
    const emails = new Map(Array.from({ length: ROWS }, (_, id) => [id, `a${String(id)}@x.org`]));
    await before.manager.insert(
      Before,
      [...emails].map(([id, email]) => ({ id, tenantId: id % TENANTS, email })),
    );
    await before.destroy();

    online = await open(Account, ['Account.email']);
    const done = new AbortController();
    const writer = (async () => {
      for (let n = 0; !done.signal.aborted; n++) {
        const id = Math.floor(Math.random() * ROWS);
        const email = `b${String(n)}@x.org`;
        await online.manager.update(Account, { id, tenantId: id % TENANTS }, { email });
        emails.set(id, email);
        await sleep(2);
      }
    })();
    const reports: RunReport[] = [];
    for (const mode of ['reencrypt', 'reindex'] as const) {
      for (let kill = 0; kill < KILLS; kill++) {
        const killed = await work(mode, 1 + Math.floor(Math.random() * 4));
        expect(killed).toMatchObject({ stdout: '', stderr: '' });
      }
      const { code, stdout, stderr } = await work(mode);
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      reports.push(JSON.parse(stdout) as RunReport);
    }
    done.abort();
    await writer;

    expect(reports).toMatchObject([
      { resumed: true, failed: 0, remaining: 0 },
      { resumed: true, failed: 0 },
    ]);
    const strict = await open(Account);
    const found = await strict.manager.find(Account);
    expect(new Map(found.map(({ id, email }) => [id, email]))).toEqual(emails);
    const [status] = await fieldEncryption(strict).status();
    expect(status).toMatchObject({ rows: ROWS, keys: [], scopes: { activeRows: ROWS } });
    for (const id of [0, 57, ROWS - 1]) {
      const where = { tenantId: id % TENANTS, email: String(emails.get(id)) };
      expect(await strict.manager.findBy(Account, where)).toMatchObject([{ id }]);
    }
  });
});
