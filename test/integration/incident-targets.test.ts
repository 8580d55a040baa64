import { randomBytes } from 'node:crypto';
import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { DataSource } from 'typeorm';
import { BlindIndex, ConfigurationError, Encrypted, fieldEncryption, KeyScope } from '../../src';
import type {
  FieldEncryptionOptions,
  IncidentOptions,
  IncidentProgress,
  Incidents,
  KeyInfo,
  PlannedStep,
} from '../../src';
import { describeDiagonal } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { FakeKms } from '../support/key-fixtures';
import { Cleanup, protect, rejection } from '../support/protected-database';

@Entity('incident_person')
class Person {
  @PrimaryColumn() id!: number;
  @KeyScope({ kind: 'tenant' }) @Column() tenant!: string;
  @Encrypted() ssn!: string;
}

@Entity('incident_account')
class Account {
  @PrimaryColumn() id!: number;
  @Encrypted() @BlindIndex({ scope: false }) email!: string;
  @Encrypted({ key: 'contact' }) phone!: string;
}

const ROWS = 40;
const CACHE = { ttlMs: 200, maxAgeMs: 3_000 };
const reason = 'seen in a paste';

jest.setTimeout(180_000);

/** An application that writes and reads all the time, and counts what fails. */
class Application {
  readonly failures: unknown[] = [];
  done = 0;
  #isRunning = true;
  #work: Promise<void>;

  constructor(dataSource: DataSource) {
    this.#work = this.#run(dataSource);
  }

  async stop(): Promise<void> {
    this.#isRunning = false;
    await this.#work;
  }

  async #run(dataSource: DataSource): Promise<void> {
    for (let n = 0; this.#isRunning; n += 1) {
      const id = n % ROWS;
      const tenant = `t${String(id % 4)}`;
      const text = randomBytes(4).toString('hex');
      try {
        await dataSource.getRepository(Person).save({ id, tenant, ssn: text });
        await dataSource.getRepository(Account).save({ id, email: text, phone: text });
        await dataSource.getRepository(Person).save({ id: 1000 + n, tenant, ssn: text });
        const person = await dataSource.getRepository(Person).findOneByOrFail({ id });
        const account = await dataSource.getRepository(Account).findOneByOrFail({ email: text });
        if (person.ssn !== text || account.phone !== text) throw new Error('another value');
      } catch (error) {
        this.failures.push(error);
      }
      this.done += 1;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
}

describeDiagonal('An incident with a writing application', (kind) => {
  const cleanup = new Cleanup();
  let database: TestDatabase;
  let dataSource: DataSource;
  let kms: FakeKms;

  const open = async (options: Partial<FieldEncryptionOptions> = {}): Promise<DataSource> =>
    cleanup.add(
      await protect(database, {
        kms,
        application: 'clinic',
        keyCache: CACHE,
        ...options,
      }).initialize(),
    );
  const incidents = (of = dataSource): Incidents => fieldEncryption(of).incidents;
  const keysNamed = async (name: string): Promise<KeyInfo[]> =>
    (await fieldEncryption(dataSource).keys.list()).filter((key) => key.name === name);

  beforeEach(async () => {
    kms = new FakeKms();
    database = await cleanup.create(kind, { entities: [Person, Account], synchronize: true });
    dataSource = await open();
    const ids = Array.from({ length: ROWS }, (_, id) => id);
    await dataSource
      .getRepository(Person)
      .insert(ids.map((id) => ({ id, tenant: `t${String(id % 4)}`, ssn: 'canary' })));
    await dataSource
      .getRepository(Account)
      .insert(ids.map((id) => ({ id, email: `canary ${String(id)}`, phone: 'canary' })));
  });
  afterEach(() => cleanup.run());

  /** Leads through an incident beside an application, which is another process on a server. */
  async function lead(
    given: Parameters<Incidents['start']>[0],
    confirm?: IncidentOptions['confirm'],
  ): Promise<IncidentProgress> {
    const isOneProcess = kind.dialect === 'sqlite';
    const app = new Application(isOneProcess ? dataSource : await open());
    // Whoever writes in another process may still have a key in memory.
    const options = {
      announceMs: CACHE.maxAgeMs,
      ...(isOneProcess ? { graceMs: 0 } : {}),
      ...(confirm && { confirm }),
    };
    let progress: IncidentProgress;
    try {
      progress = await incidents().start(given, options);
      for (let round = 0; progress.wait !== null && round < 60; round += 1) {
        const { until } = progress.wait;
        const waitMs = until === null ? 200 : Math.max(0, until.getTime() - Date.now()) + 100;
        await new Promise((resolve) => setTimeout(resolve, waitMs));
        progress = await incidents().resume(progress.incident.id, options);
      }
    } finally {
      await app.stop();
    }
    expect(app.failures).toEqual([]);
    expect(app.done).toBeGreaterThan(3);
    expect(progress.wait).toBeNull();
    return progress;
  }

  it('replaces a data key without a failed request, and leaves nothing under it', async () => {
    const [key] = await keysNamed('contact');
    const { incident } = await lead({ kind: 'key', target: key!.id, reason });
    expect(incident).toMatchObject({
      keys: [{ id: key!.id, state: 'destroyed' }],
    });
    const uses = await fieldEncryption(dataSource).keys.uses(key!.id);
    expect(uses.every(({ rowsUnderKey }) => rowsUnderKey === 0)).toBe(true);
    expect(await fieldEncryption(dataSource).audit.verify()).toMatchObject({ ok: true });
  });

  it('replaces a branch with all keys of scopes under it', async () => {
    const [branch] = await keysNamed('branch');
    const table = dataSource.driver.escape('field_encryption_scope_keys');
    const idsOf = async (): Promise<string[]> =>
      (
        await dataSource.query(
          `SELECT id FROM ${table} WHERE purpose = 'data' AND state = 'active'`,
        )
      ).map(({ id }: { id: string }) => id);
    const before = await idsOf();
    expect(before).toHaveLength(4);
    const { incident } = await lead({ kind: 'branch', target: 'branch', reason });
    expect(incident).toMatchObject({
      exposed: { scopeKeys: 4 },
      keys: [{ id: branch!.id, state: 'destroyed' }],
    });
    const after = await idsOf();
    expect(after).toHaveLength(4);
    expect(after.filter((id) => before.includes(id))).toEqual([]);
    const status = await fieldEncryption(dataSource).status();
    const coverage = status.find(({ property }) => property === 'ssn')!.scopes!;
    expect(coverage).toMatchObject({ olderRows: 0, commonRows: 0 });
    expect(await fieldEncryption(dataSource).audit.verify()).toMatchObject({ ok: true });
  });

  it('replaces keys of scopes that a process made with the old branch meanwhile', async () => {
    const late = await open({ keyCache: {} });
    await late.getRepository(Person).insert({ id: 500, tenant: 't1', ssn: 'before' });
    const { incident, wait } = await incidents().start(
      { kind: 'branch', target: 'branch', reason },
      {
        graceMs: 0,
        confirm: async ({ step }) => {
          const person = { id: 501, tenant: 'late', ssn: 'meanwhile' };
          if (step === 'destroy') await late.getRepository(Person).insert(person);
          return true;
        },
      },
    );
    expect(wait).toBeNull();
    expect(incident.keys).toMatchObject([{ name: 'branch', state: 'destroyed' }]);
    const table = dataSource.driver.escape('field_encryption_scope_keys');
    const keys = await dataSource.query(
      `SELECT version, state FROM ${table} WHERE purpose = 'data' AND scope = 'late' ORDER BY version`,
    );
    expect(keys).toEqual([
      { version: 1, state: 'deactivated' },
      { version: 2, state: 'active' },
    ]);
    const fresh = await open();
    expect(await fresh.getRepository(Person).findOneByOrFail({ id: 501 })).toMatchObject({
      ssn: 'meanwhile',
    });
    const drill = await incidents().drill({ kind: 'branch', target: 'branch', reason });
    expect(drill).toMatchObject({ rows: [{ rows: ROWS + 2 }], tried: ROWS + 2, unreadable: 0 });
    expect(drill.estimatedSeconds).toBeGreaterThan(0);
  });

  it('replaces all that a KEK has wrapped, once new keys are wrapped by another', async () => {
    await fieldEncryption(dataSource).sign('a document', { context: 'letters' });
    const kek = 'fake/fake-kek/1';
    const refused = await rejection(incidents().start({ kind: 'kek', target: kek, reason }));
    expect(refused).toBeInstanceOf(ConfigurationError);
    expect(refused.message).toContain('Rotate the KEK');
    expect(await incidents().status()).toEqual([]);

    kms.kek = 'fake-kek/2';
    // No remedy: whoever had the old KEK may have the keys.
    await fieldEncryption(dataSource).keys.rewrap();
    const former = await open();
    let made: string | undefined;
    const confirm = async ({ step }: PlannedStep): Promise<boolean> => {
      if (step !== 'close') return true;
      if (made !== undefined) {
        await incidents().start({ kind: 'key', target: made, reason }, { graceMs: 0 });
        return true;
      }
      // As a process does that still has the old setting.
      kms.kek = 'fake-kek/1';
      made = (await fieldEncryption(former).keys.rotateSigning('documents')).id;
      kms.kek = 'fake-kek/2';
      return true;
    };
    const { incident } = await lead({ kind: 'kek', target: kek, reason }, confirm);
    expect(incident.kek).toBe(kek);
    const stops = incident.entries.filter(({ outcome }) => outcome === 'interrupted');
    expect(stops.at(-1)).toMatchObject({ keyPurpose: 'close', keyName: 'keys' });
    const states = incident.keys.map(({ name, purpose, state }) => `${purpose} ${name} ${state}`);
    expect(states.sort()).toEqual([
      'data branch destroyed',
      'data contact destroyed',
      'data default destroyed',
      'index default destroyed',
      'signing documents compromised',
    ]);
    for (const name of ['branch', 'contact', 'default']) {
      expect((await keysNamed(name)).map(({ state }) => state)).toEqual(['destroyed', 'active']);
    }
    const verified = await fieldEncryption(dataSource).verify();
    expect(verified).toMatchObject({ failed: 0 });
    const signature = await fieldEncryption(dataSource).sign('another', { context: 'letters' });
    expect(signature).toMatch(/^fes1\./);
    expect(await fieldEncryption(dataSource).audit.verify()).toMatchObject({ ok: true });
  });
});
