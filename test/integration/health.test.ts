import { inspect } from 'node:util';
import { setTimeout as sleep } from 'node:timers/promises';
import { Entity, PrimaryColumn } from 'typeorm';
import type { DataSource } from 'typeorm';
import {
  BlindIndex,
  ConfigurationError,
  Encrypted,
  fieldEncryption,
  fieldEncryptionMigrations,
  KmsUnavailableError,
} from '../../src';
import type { FieldEncryptionOptions, HealthReport, KmsHealth } from '../../src';
import { installationOf } from '../../src/typeorm/installation/installations';
import { describeDiagonal } from '../support/databases';
import { FakeKms } from '../support/key-fixtures';
import { DatabaseRole } from '../support/database-role';
import { Cleanup, protect, rejection } from '../support/protected-database';

@Entity()
class Patient {
  @PrimaryColumn() id!: number;
  @Encrypted() @BlindIndex() email!: string;
  @Encrypted({ key: 'medical' }) note!: string;
}

const NOW = { rememberMs: 0 };
/** Long enough for a busy machine, where nothing hangs. */
const PATIENT = { rememberMs: 0, timeoutMs: 30_000 };

/** Counts who asks for its health, and says what the test wants. */
class ProbedKms extends FakeKms {
  probes = 0;
  says: () => Promise<KmsHealth> = () => Promise.resolve({ ok: this.outage === undefined });

  override health(): Promise<KmsHealth> {
    this.probes += 1;
    return this.says();
  }
}

describeDiagonal('fieldEncryption(dataSource).health()', (kind) => {
  const cleanup = new Cleanup();
  let kms: ProbedKms;

  beforeEach(() => {
    kms = new ProbedKms();
  });
  afterEach(() => cleanup.run());

  async function open(
    options: Partial<FieldEncryptionOptions> = {},
    { synchronize = true, poolSize = 4 } = {},
  ): Promise<DataSource> {
    const database = await cleanup.create(kind, {
      ...{ entities: [Patient], migrations: [...fieldEncryptionMigrations] },
      ...{ synchronize, poolSize },
    });
    return cleanup.add(protect(database, { kms, application: 'clinic', ...options })).initialize();
  }

  const health = (ds: DataSource, options = PATIENT): Promise<HealthReport> =>
    fieldEncryption(ds).health(options);

  it('tells KMS, tables, and for how long each key in memory serves', async () => {
    const ds = await open({ keyCache: { ttlMs: 60_000, maxAgeMs: 600_000 } });
    const report = await health(ds);
    expect(report).toMatchObject({
      ...{ ok: true, status: 'ok', otherKms: [] },
      kms: { name: 'fake', ok: true },
      tables: { ok: true, missing: [] },
      keys: [
        { name: 'default', purpose: 'data', version: 1 },
        { name: 'medical', purpose: 'data', version: 1 },
        { name: 'default', purpose: 'index', version: 1 },
      ],
    });
    for (const { freshForMs, usableForMs } of report.keys) {
      expect(freshForMs).toBeGreaterThan(0);
      expect(freshForMs).toBeLessThanOrEqual(60_000);
      expect(usableForMs - freshForMs).toBe(540_000);
    }
    const printed = `${JSON.stringify(report)}${inspect(report, { depth: 9, showHidden: true })}`;
    for (const bytes of kms.keyBytes) expect(printed).not.toContain(bytes.toString('hex'));
  });

  it('asks the KMS once for all who ask meanwhile, and once in a while for all others', async () => {
    const ds = await open();
    kms.unwraps = 0;
    await Promise.all(
      Array.from({ length: 50 }, () => health(ds, { ...PATIENT, rememberMs: 60_000 })),
    );
    for (let i = 0; i < 20; i += 1) await health(ds, { ...PATIENT, rememberMs: 60_000 });
    expect(kms.probes).toBe(1);
    await health(ds);
    expect(kms.probes).toBe(2);
    expect(kms.unwraps).toBe(0);
  });

  it('does not wait for a KMS that hangs, asks it no second time, and goes by the keys in memory', async () => {
    const ds = await open();
    let answer: (health: KmsHealth) => void = () => undefined;
    kms.says = () => new Promise((resolve) => (answer = resolve));
    const hanging = { ok: true, status: 'degraded', kms: { ok: false, reachable: false } };
    expect(await health(ds, { ...NOW, timeoutMs: 1000 })).toMatchObject(hanging);
    expect(await health(ds, { ...NOW, timeoutMs: 1000 })).toMatchObject(hanging);
    expect(kms.probes).toBe(1);
    answer({ ok: true });
    await sleep(1);
    expect(await health(ds, { rememberMs: 60_000, timeoutMs: 30_000 })).toMatchObject({
      status: 'ok',
    });
  });

  it('serves through an outage until the keys in memory are too old, and then says so', async () => {
    const ds = await open();
    kms.outage = new KmsUnavailableError('the cable is cut');
    expect(await health(ds)).toMatchObject({ ok: true, status: 'degraded', kms: { ok: false } });

    await installationOf(ds).keys.close();
    const failing = await health(ds);
    expect(failing).toMatchObject({ ok: false, status: 'failing' });
    expect(failing.keys[0]).toMatchObject({
      ...{ name: 'default', version: null, freshForMs: 0, usableForMs: 0 },
      problem: expect.stringContaining('the cable is cut') as string,
    });

    kms.outage = undefined;
    await sleep(1100);
    expect(await health(ds)).toMatchObject({ ok: true, status: 'ok' });
    await ds.getRepository(Patient).insert({ id: 1, email: 'a@x.org', note: 'n' });
  });

  it('makes a process ready that started while the KMS was away, and one that was idle', async () => {
    kms.outage = new KmsUnavailableError('away');
    const ds = await open({ keyCache: { ttlMs: 1, maxAgeMs: 1_500 } });
    expect((await health(ds)).ok).toBe(false);
    kms.outage = undefined;
    await sleep(1100);
    expect(await health(ds)).toMatchObject({ ok: true, keys: [{ version: 1 }, {}, {}] });
    await sleep(1600);
    expect(await health(ds)).toMatchObject({ ok: true, status: 'ok' });
  });

  it('names the tables that are missing, until they are there', async () => {
    const ds = await open({}, { synchronize: false });
    const report = await health(ds);
    expect(report).toMatchObject({ ok: false, status: 'failing', tables: { ok: false } });
    expect(report.tables.missing).toEqual(['data_keys', 'patient']);
    await ds.synchronize();
    expect(await health(ds)).toMatchObject({ ok: true, tables: { ok: true, missing: [] } });
  });

  it('stays ready while an operator has suspended a key: reading goes on', async () => {
    const ds = await open();
    const { keys } = fieldEncryption(ds);
    const medical = (await keys.list()).find(({ name }) => name === 'medical');
    await keys.suspend(medical?.id ?? '');
    const report = await health(ds);
    expect(report).toMatchObject({ ok: true, status: 'degraded' });
    expect(report.keys[1]).toMatchObject({
      ...{ name: 'medical', usableForMs: 0 },
      problem: expect.stringContaining('suspended') as string,
    });
    await keys.resume(medical?.id ?? '');
    await sleep(1100);
    expect(await health(ds)).toMatchObject({ status: 'ok' });
  });

  it('is degraded where one of several providers is, or may not unwrap', async () => {
    const ds = await open({
      otherKms: [Object.assign(new ProbedKms('old'), { outage: new Error() })],
    });
    expect(await health(ds)).toMatchObject({
      ...{ ok: true, status: 'degraded', kms: { ok: true } },
      otherKms: [{ name: 'old', ok: false }],
    });
    for (const said of [
      { ok: true, mayUnwrap: false },
      {
        ok: true,
        members: [
          { name: 'a', ok: true },
          { name: 'b', ok: false },
        ],
      },
    ]) {
      const single = await open({
        kms: Object.assign(new ProbedKms(), { says: async () => said }),
      });
      expect(await health(single)).toMatchObject({ ok: true, status: 'degraded', kms: said });
    }
  });

  it('reports a provider that breaks the port, and nothing of what it says', async () => {
    const ds = await open();
    const secret = 'canary-token';
    const broken: (() => Promise<KmsHealth>)[] = [
      () => Promise.reject(new Error(secret)),
      () => {
        throw new Error(secret);
      },
      () => Promise.resolve(undefined as unknown as KmsHealth),
      () => Promise.resolve({ ok: false, token: secret } as KmsHealth),
    ];
    for (const says of broken) {
      kms.says = says;
      const report = await health(ds);
      expect(report).toMatchObject({ ok: true, status: 'degraded', kms: { ok: false } });
      expect(JSON.stringify(report)).not.toContain(secret);
    }
  });

  it('says before and after its time that the DataSource is not initialized, and asks nobody', async () => {
    const ds = await open();
    await ds.destroy();
    kms.probes = 0;
    expect(await health(ds)).toMatchObject({
      ...{ ok: false, status: 'failing', keys: [], kms: { name: 'fake', ok: false } },
      tables: { ok: false, detail: 'The DataSource is not initialized.' },
    });
    expect(kms.probes).toBe(0);
    await ds.initialize();
    expect(await health(ds)).toMatchObject({ ok: true });
  });

  it('refuses limits that are no whole numbers', async () => {
    const ds = await open();
    for (const options of [{ timeoutMs: NaN }, { rememberMs: -1 }]) {
      expect(await rejection(fieldEncryption(ds).health(options))).toBeInstanceOf(
        ConfigurationError,
      );
    }
  });

  // There is no pool to wait for, and there are no roles.
  if (kind.dialect === 'sqlite') return;

  it('does not wait for a connection longer than its time', async () => {
    const ds = await open({}, { poolSize: 1 });
    const held = ds.createQueryRunner();
    await held.connect();
    expect(await health(ds, { ...NOW, timeoutMs: 300 })).toMatchObject({
      ...{ ok: false, status: 'failing', kms: { ok: true } },
      tables: { ok: false, missing: [], detail: 'no answer within 300 ms.' },
    });
    await held.release();
    expect(await health(ds)).toMatchObject({ ok: true, status: 'ok' });
  });

  it('needs no right but to read the key table, and names the grant for that', async () => {
    const owner = await open();
    const right = 'GRANT SELECT ON data_keys';
    const rights = kind.dialect === 'postgres' ? ['GRANT USAGE ON SCHEMA public', right] : [right];
    const role = await DatabaseRole.create(owner, rights);
    const { dataSourceOptions, dispose } = {
      dataSourceOptions: role.options,
      dispose: async () => undefined,
    };
    const ds = cleanup.add(protect({ dataSourceOptions, dispose }, { kms, application: 'clinic' }));
    try {
      await ds.initialize();
      expect(await health(ds)).toMatchObject({ ok: true, status: 'ok' });
      await owner.query(
        `REVOKE SELECT ON data_keys FROM ${new URL((role.options as { url: string }).url).username}`,
      );
      expect(await health(ds)).toMatchObject({
        ok: false,
        tables: {
          ok: false,
          detail: expect.stringContaining('GRANT SELECT ON data_keys') as string,
        },
      });
    } finally {
      await ds.destroy();
      await role.drop();
    }
  });
});
