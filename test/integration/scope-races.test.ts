import { randomBytes, randomUUID } from 'node:crypto';
import { chmodSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { Column, Entity, In, PrimaryColumn } from 'typeorm';
import type { DataSource } from 'typeorm';
import {
  ALL_SCOPES,
  BlindIndex,
  Encrypted,
  fieldEncryption,
  KeyScope,
  localKms,
  withKeyScope,
} from '../../src';
import { DATABASES, describeDiagonal, typeormMajor } from '../support/databases';
import type { CommonOptions, TestDatabase } from '../support/databases';
import { moveDatabaseClock } from '../support/database-clock';
import { createProject } from '../support/project';
import type { Project } from '../support/project';
import { Cleanup, protect } from '../support/protected-database';
import { lockWaits } from '../support/lock-waits';
import { isEachMajor } from '../support/test-matrix';

const PROCESSES = 20;
const SCOPES = 1000;

@Entity()
class Patient {
  @PrimaryColumn('uuid') id: string = randomUUID();
  @KeyScope({ kind: 'tenant' }) @Column() tenantId!: number;
  @Encrypted() @BlindIndex() ssn!: string;
}

function patient(tenantId: number, ssn = `canary ${String(tenantId)}`): Patient {
  return Object.assign(new Patient(), { tenantId, ssn });
}

/** What each process does: writes a row of every scope, a part of them in transactions, in an order of its own. */
const WRITER = `
const { randomUUID } = require('node:crypto');
const { DataSource, Entity, PrimaryColumn, Column } = require('typeorm');
const { BlindIndex, Encrypted, KeyScope, localKms, withFieldEncryption } = require('typeorm-field-encryption');
class Patient { constructor() { this.id = randomUUID(); } }
const on = (name, ...decorators) => { for (const each of decorators) each(Patient.prototype, name); };
on('id', PrimaryColumn('uuid'));
on('tenantId', KeyScope({ kind: 'tenant' }), Column('integer'));
on('ssn', BlindIndex(), Encrypted({ type: 'string' }));
Entity()(Patient);
async function main() {
  const first = Number(process.env.FIRST);
  const options = JSON.parse(process.env.DATABASE);
  const dataSource = withFieldEncryption(
    new DataSource({ ...options, entities: [Patient], synchronize: false, poolSize: 2 }),
    { kms: localKms({ keyFile: process.env.KEY_FILE }) },
  );
  await dataSource.initialize();
  const rows = Array.from({ length: ${SCOPES} }, (_, i) => {
    const tenantId = (first + i * (first % 2 === 0 ? 1 : ${SCOPES} - 1)) % ${SCOPES};
    return Object.assign(new Patient(), { tenantId, ssn: 'canary ' + tenantId });
  });
  for (let at = 0; at < rows.length; at += 100) {
    const page = rows.slice(at, at + 100);
    if (at % 200 === 0) await dataSource.manager.insert(Patient, page);
    else await dataSource.manager.save(page);
  }
  await dataSource.destroy();
}
main().catch((error) => { console.error(error); process.exit(1); });
`;

/** About locks of the database, and long: one major will do, except where everything is tried. */
const isTried = typeormMajor === 1 || isEachMajor;

const severalConnections = DATABASES.filter(
  ({ dialect, unavailable }) => dialect !== 'sqlite' && unavailable === undefined && isTried,
);
const describeSeveral =
  severalConnections.length > 0 ? describe.each(severalConnections) : describe.skip.each(DATABASES);

describeSeveral('Processes that write new scopes at once ($name)', (kind) => {
  let project: Project;
  let database: TestDatabase;
  beforeAll(async () => {
    project = createProject(typeormMajor);
    project.write('writer.js', WRITER);
    database = await kind.create({ entities: [Patient] });
  }, 120_000);
  afterAll(async () => {
    project.dispose();
    await database.dispose();
  });

  it('make one data key and one index key of each, and lose nothing', async () => {
    const keyFile = project.write('kek', randomBytes(32).toString('hex'));
    chmodSync(keyFile, 0o600);
    const kms = localKms({ keyFile });
    const dataSource = await protect(database, { kms }, { synchronize: true }).initialize();
    try {
      const writers = Array.from({ length: PROCESSES }, (_, i) =>
        project.spawn('node', ['writer.js'], {
          DATABASE: JSON.stringify(database.dataSourceOptions),
          KEY_FILE: keyFile,
          FIRST: String(Math.floor((i * SCOPES) / PROCESSES)),
        }),
      );
      for (const { code, output } of await Promise.all(writers)) {
        expect({ code, output }).toEqual({ code: 0, output: '' });
      }
      for (const purpose of ['data', 'index']) {
        const keys = await dataSource.query<{ scope: string }[]>(
          `SELECT scope FROM field_encryption_scope_keys WHERE state = 'active' AND purpose = '${purpose}'`,
        );
        expect(keys).toHaveLength(SCOPES);
        expect(new Set(keys.map(({ scope }) => scope)).size).toBe(SCOPES);
      }
      const patients = dataSource.getRepository(Patient);
      const report = await fieldEncryption(dataSource).verify();
      expect(report).toMatchObject({ scanned: PROCESSES * SCOPES, failed: 0 });
      for (const tenantId of [0, 499, SCOPES - 1]) {
        const found = await patients.findBy({ tenantId, ssn: `canary ${String(tenantId)}` });
        expect(found).toHaveLength(PROCESSES);
      }
    } finally {
      await dataSource.destroy();
    }
  }, 280_000);
});

describeDiagonal('The first write of a scope', (database) => {
  const cleanup = new Cleanup();
  afterEach(() => cleanup.run());

  /** Two DataSources of the same database and KMS, as two processes have them. */
  async function two(options: CommonOptions = {}): Promise<[DataSource, DataSource]> {
    const created = await cleanup.create(database, { entities: [Patient], synchronize: true });
    const open = async (): Promise<DataSource> =>
      cleanup.add(await protect(created, {}, options).initialize());
    return [await open(), await open()];
  }

  async function expectReadable(
    dataSource: DataSource,
    tenantId: number,
    rows: number,
  ): Promise<void> {
    const ssn = `canary ${String(tenantId)}`;
    const patients = dataSource.getRepository(Patient);
    expect(await patients.findBy({ tenantId })).toHaveLength(rows);
    expect(await patients.countBy({ tenantId, ssn })).toBe(rows);
    expect(await fieldEncryption(dataSource).verify()).toMatchObject({ failed: 0 });
  }

  it('leaves no key behind that others use, if its transaction rolls back', async () => {
    const [one, other] = await two();
    for (const end of ['rollback', 'commit']) {
      const runner = one.createQueryRunner();
      await runner.startTransaction();
      await runner.manager.insert(Patient, patient(1));
      await runner.manager.insert(Patient, patient(1));
      expect(await runner.manager.findBy(Patient, { tenantId: 1, ssn: 'canary 1' })).toHaveLength(
        2,
      );
      await (end === 'commit' ? runner.commitTransaction() : runner.rollbackTransaction());
      await runner.release();
    }
    await one.manager.insert(Patient, patient(1));
    await other.manager.insert(Patient, patient(1));
    for (const each of [one, other]) await expectReadable(each, 1, 4);
  });

  it('is undone with its key by a savepoint', async () => {
    const [one, other] = await two();
    await one.transaction(async (manager) => {
      const failing = manager.transaction(async (nested) => {
        await nested.insert(Patient, patient(2));
        throw new Error('undone');
      });
      await expect(failing).rejects.toThrow('undone');
      await manager.insert(Patient, patient(2));
    });
    await one.manager.insert(Patient, patient(2));
    for (const each of [one, other]) await expectReadable(each, 2, 2);
  });

  it('is undone with its key by a ROLLBACK in SQL, or refused', async () => {
    const [one, other] = await two();
    const runner = one.createQueryRunner();
    await runner.query('BEGIN');
    const inserting = runner.manager.insert(Patient, patient(3)).catch((error: unknown) => error);
    await inserting;
    await runner.query('ROLLBACK').catch(() => undefined);
    await runner.release();
    expect(await one.manager.count(Patient)).toBe(0);
    await one.manager.insert(Patient, patient(3));
    await other.manager.insert(Patient, patient(3));
    for (const each of [one, other]) await expectReadable(each, 3, 2);
  });

  it('takes one connection', async () => {
    const [one, other] = await two({ poolSize: 1 });
    await one.manager.insert(Patient, [patient(4), patient(5)]);
    await one.manager.save(patient(4));
    await one.transaction(async (manager) => {
      await manager.insert(Patient, patient(6));
      await manager.save(patient(6));
    });
    await other.manager.save([patient(6), patient(7)]);
    for (const tenant of [4, 6]) await expectReadable(other, tenant, tenant === 4 ? 2 : 3);
  });

  it('takes one connection across scopes, too, with its entry in the audit log', async () => {
    const [one] = await two({ poolSize: 1 });
    await one.manager.insert(Patient, [patient(4), patient(5)]);
    const all = (): Promise<Patient[]> => one.manager.find(Patient);
    expect(await withKeyScope(ALL_SCOPES, all)).toHaveLength(2);
    const runner = one.createQueryRunner();
    await runner.connect();
    await withKeyScope(ALL_SCOPES, () => runner.manager.find(Patient));
    await runner.release();
    await one.transaction((manager) =>
      withKeyScope(ALL_SCOPES, async () => {
        await manager.insert(Patient, patient(6));
        expect(await manager.find(Patient)).toHaveLength(3);
      }),
    );
    const { audit } = fieldEncryption(one);
    while ((await audit.list({ operation: 'allScopes' })).length < 3) await sleep(20);
  });

  it('may be one of many at once', async () => {
    const [one] = await two();
    const rows = Array.from({ length: 50 }, (_, i) => patient(100 + (i % 25)));
    await Promise.all(rows.map((row) => one.manager.insert(Patient, row)));
    expect(await one.manager.find(Patient)).toHaveLength(50);
    expect(await fieldEncryption(one).verify()).toMatchObject({ scanned: 50, failed: 0 });
  });
});

describeSeveral('An update by criteria that leave the scope open ($name)', (kind) => {
  const cleanup = new Cleanup();
  afterEach(() => cleanup.run());

  // In MySQL the update hits that row, too, and is refused.
  const itUnlessHit = kind.dialect === 'mysql' ? it.skip : it;
  itUnlessHit('leaves a row of another scope alone that is committed meanwhile', async () => {
    const created = await cleanup.create(kind, { entities: [Patient], synchronize: true });
    const one = cleanup.add(await protect(created).initialize());
    const other = cleanup.add(await protect(created).initialize());
    const [ada, eve] = [patient(1), patient(2)];
    await one.manager.insert(Patient, ada);
    const runner = other.createQueryRunner();
    await runner.startTransaction();
    await runner.manager.insert(Patient, eve);
    await runner.query(`SELECT id FROM patient WHERE id = '${ada.id}' FOR UPDATE`);
    const updating = one.manager.update(
      Patient,
      { id: In([ada.id, eve.id]) },
      { ssn: 'canary new' },
    );
    while ((await lockWaits(other)) === 0) await sleep(10);
    await runner.commitTransaction();
    await runner.release();
    expect(await updating).toMatchObject({ affected: 1 });
    expect(await one.manager.find(Patient, { order: { tenantId: 'ASC' } })).toMatchObject([
      { tenantId: 1, ssn: 'canary new' },
      { tenantId: 2, ssn: 'canary 2' },
    ]);
  });
});

describeSeveral('A legal hold that is set while a scope is erased ($name)', (kind) => {
  const cleanup = new Cleanup();
  const scope = { tenant: 1 };
  const due = { scope, reason: 'request 1' };
  let one: DataSource;
  let other: DataSource;
  afterEach(() => cleanup.run());

  beforeEach(async () => {
    const created = await cleanup.create(kind, { entities: [Patient], synchronize: true });
    one = cleanup.add(await protect(created).initialize());
    other = cleanup.add(await protect(created).initialize());
    await one.manager.insert(Patient, patient(1));
    let aheadMs = 0;
    moveDatabaseClock(one, () => aheadMs);
    expect(await fieldEncryption(one).keys.shred(due)).toMatchObject({ state: 'requested' });
    aheadMs = 3_600_000;
  });

  async function expectWaiting(count: number): Promise<void> {
    while ((await lockWaits(other)) < count) await sleep(10);
  }

  async function expectHeld(shredding: Promise<unknown>): Promise<void> {
    await expect(shredding).rejects.toThrow('legal hold');
    expect(await other.manager.findBy(Patient, { tenantId: 1 })).toHaveLength(1);
  }

  it('keeps it, if the erasure still waits for writers', async () => {
    const writer = other.createQueryRunner();
    await writer.startTransaction();
    await writer.query('UPDATE patient SET id = id');
    const shredding = fieldEncryption(one).keys.shred(due);
    shredding.catch(() => undefined);
    await sleep(500);
    await fieldEncryption(other).keys.hold({ scope, reason: 'case 1' });
    await writer.commitTransaction();
    await writer.release();
    await expectHeld(shredding);
  });

  it('keeps it, if the hold is only about to be committed', async () => {
    const auditor = other.createQueryRunner();
    await auditor.startTransaction();
    await auditor.query(
      kind.dialect === 'postgres'
        ? 'LOCK TABLE field_encryption_audit IN SHARE MODE'
        : 'SELECT seq FROM field_encryption_audit ORDER BY seq DESC LIMIT 1 FOR UPDATE',
    );
    const holding = fieldEncryption(other).keys.hold({ scope, reason: 'case 1' });
    await expectWaiting(1);
    const shredding = fieldEncryption(one).keys.shred(due);
    shredding.catch(() => undefined);
    await expectWaiting(2);
    await auditor.commitTransaction();
    await auditor.release();
    await holding;
    await expectHeld(shredding);
  });
});

describeSeveral('A transaction that makes a scope ($name)', (kind) => {
  const cleanup = new Cleanup();
  afterEach(() => cleanup.run());

  it('keeps another that makes the same waiting, and neither loses a row', async () => {
    const created = await cleanup.create(kind, { entities: [Patient], synchronize: true });
    const one = cleanup.add(await protect(created).initialize());
    const other = cleanup.add(await protect(created).initialize());
    for (const [tenantId, end] of [
      [1, 'commit'],
      [2, 'rollback'],
    ] as const) {
      const first = one.createQueryRunner();
      await first.startTransaction();
      await first.manager.insert(Patient, patient(tenantId));
      const second = other.manager.insert(Patient, patient(tenantId));
      const third = one.manager.insert(Patient, patient(tenantId));
      await (end === 'commit' ? first.commitTransaction() : first.rollbackTransaction());
      await first.release();
      await Promise.all([second, third]);
      const rows = end === 'commit' ? 3 : 2;
      expect(await other.manager.findBy(Patient, { tenantId })).toHaveLength(rows);
      expect(await one.manager.findBy(Patient, { tenantId })).toHaveLength(rows);
    }
  });
});
