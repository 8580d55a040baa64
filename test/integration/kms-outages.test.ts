import { Column, Entity, ManyToOne, OneToMany, PrimaryColumn } from 'typeorm';
import type { DataSource } from 'typeorm';
import { BlindIndex, Encrypted, fieldEncryption, KmsUnavailableError } from '../../src';
import type { FieldEncryptionOptions, KeyEvent } from '../../src';
import { installationOf } from '../../src/typeorm/installation/installations';
import { describeDiagonal } from '../support/databases';
import { FakeKms } from '../support/key-fixtures';
import { Cleanup, protect, rejection } from '../support/protected-database';
import { WarningLog } from '../support/statement-log';

@Entity()
class Guest {
  @PrimaryColumn() id!: number;
  @Encrypted() @BlindIndex() email!: string;
  @OneToMany(() => Stay, (stay) => stay.guest, { cascade: true }) stays!: Stay[];
}

@Entity()
class Stay {
  @PrimaryColumn() id!: number;
  @Encrypted() reason!: string;
  @ManyToOne(() => Guest, (guest) => guest.stays) guest!: Guest;
}

/** Nothing of it is encrypted. */
@Entity()
class Room {
  @PrimaryColumn() id!: number;
  @Column() name!: string;
}

/** SQL for the connection that it is sent on. */
const SESSION = {
  sqlite: undefined,
  postgres: 'SELECT pg_backend_pid() AS pid',
  mysql: 'SELECT connection_id() AS pid',
};

/** SQLite's only connection has one transaction at a time. */
async function inTurn<T>(items: readonly T[], run: (item: T) => Promise<Error>): Promise<Error[]> {
  const results: Error[] = [];
  for (const item of items) results.push(await run(item));
  return results;
}

const SOME = Array.from({ length: 20 }, (_, i) => i);

describeDiagonal('an outage of the KMS', (kind) => {
  const cleanup = new Cleanup();
  const poolSizes = kind.dialect === 'sqlite' ? [1] : [1, 2, 10];
  let kms: FakeKms;
  let release: () => void;

  beforeEach(() => {
    kms = new FakeKms();
    release = () => undefined;
  });

  afterEach(async () => {
    release();
    await cleanup.run();
  });

  async function open(
    poolSize: number,
    options: Partial<FieldEncryptionOptions> = {},
  ): Promise<DataSource> {
    const entities = [Guest, Stay, Room];
    const database = await cleanup.create(kind, { entities, synchronize: true, poolSize });
    const ds = await cleanup.add(protect(database, { kms, ...options })).initialize();
    await ds.getRepository(Room).insert({ id: 1, name: 'attic' });
    await ds.getRepository(Guest).save({
      ...{ id: 1, email: 'a@x.org' },
      stays: [1, 2].map((id) => ({ id, reason: `r${String(id)}` })),
    });
    return ds;
  }

  /** As after `maxAgeMs`. */
  async function forgetKeys(ds: DataSource): Promise<void> {
    await installationOf(ds).keys.close();
    kms.unwraps = 0;
  }

  function hang(): void {
    kms.gate = new Promise((resolve) => {
      release = resolve;
    });
  }

  function plainQueries(ds: DataSource): Promise<unknown> {
    return Promise.all(SOME.map(() => ds.getRepository(Room).findOneByOrFail({ id: 1 })));
  }

  it.each(poolSizes)(
    'asks once for the index root that 200 lookups need, with a pool of %i',
    async (poolSize) => {
      const ds = await open(poolSize);
      await forgetKeys(ds);
      const guests = await Promise.all(
        Array.from({ length: 200 }, () =>
          ds.getRepository(Guest).findOneBy({ email: 'nobody@x.org' }),
        ),
      );
      expect(guests.every((guest) => guest === null)).toBe(true);
      expect(kms.unwraps).toBe(1);
    },
  );

  it.each(poolSizes)(
    'keeps no query waiting that needs no key, with a pool of %i',
    async (poolSize) => {
      const ds = await open(poolSize);
      await forgetKeys(ds);
      hang();
      const guests = ds.getRepository(Guest);
      const waiting = Promise.all(
        SOME.flatMap((i) => [
          guests.findOneBy({ email: 'a@x.org' }),
          guests.find(),
          guests.find({ relations: { stays: true }, order: { id: 'ASC' }, take: 1 }),
          guests.find({ relations: { stays: true }, relationLoadStrategy: 'query' }),
          guests.findAndCountBy({ email: 'a@x.org' }),
          guests.countBy({ email: 'a@x.org' }),
          guests.insert({ id: 100 + i, email: `${String(i)}@x.org` }),
          guests.save({ id: 200 + i, email: `s${String(i)}@x.org` }),
          guests.save({ id: 300 + i, email: 'c@x.org', stays: [{ id: 300 + i, reason: 'r' }] }),
          guests.update({ email: 'b@x.org' }, { email: 'a@x.org' }),
        ]),
      );
      await plainQueries(ds);
      await plainQueries(ds);
      expect(kms.unwraps).toBeLessThanOrEqual(2);
      release();
      const [found, all, page] = await waiting;
      expect(found).toMatchObject({ id: 1, email: 'a@x.org' });
      expect(all).toContainEqual(expect.objectContaining({ email: 'a@x.org' }));
      expect(page).toMatchObject([{ email: 'a@x.org', stays: [{ id: 1 }, { id: 2 }] }]);
      // A writer that got its connection after the readers had the data key asks once more.
      expect(kms.unwraps).toBeLessThanOrEqual(3);
    },
  );

  it('keeps a transaction waiting for a moment, and then says that it may be tried again', async () => {
    const ds = await open(2, { keyCache: { transactionWaitMs: 200 } });
    await forgetKeys(ds);
    hang();
    const transaction = (i: number): Promise<Error> =>
      rejection(
        ds.transaction(async (manager) => {
          if (i % 2 === 0) await manager.insert(Guest, { id: 10 + i, email: 'b@x.org' });
          else await manager.find(Guest);
        }),
      );
    const transactions =
      kind.dialect === 'sqlite' ? inTurn(SOME, transaction) : Promise.all(SOME.map(transaction));
    const plain = plainQueries(ds);
    for (const failure of await transactions) {
      if (!(failure instanceof KmsUnavailableError)) throw failure;
      expect(failure).toBeInstanceOf(KmsUnavailableError);
      expect(failure).toMatchObject({ retryable: true });
    }
    await plain;
    expect(kms.unwraps).toBeLessThanOrEqual(2);

    release();
    // The key went on loading.
    await ds.getRepository(Guest).find();
    await ds.transaction((manager) => manager.insert(Guest, { id: 10, email: 'b@x.org' }));
    expect(kms.unwraps).toBeLessThanOrEqual(2);
  });

  it('of one row alone is named, and keeps no other row from being read, judged or moved', async () => {
    const ds = await open(2);
    const { keys, audit } = fieldEncryption(ds);
    const [old] = await keys.list();
    const keyId = old?.id ?? '';
    await keys.rotate();
    kms.failsOn = keyId;
    const finding = { keyId, code: 'ERR_KMS_UNAVAILABLE' };

    const report = await audit.verify();
    expect(report).toMatchObject({ ok: false, broken: null, keys: [], unproven: [] });
    expect(report.undecided).toMatchObject([finding]);
    expect(report.undecided[0]?.message).toContain(keyId);

    kms.kek = 'fake-kek/2';
    const moved = await keys.rewrap();
    expect(moved).toMatchObject({ scanned: 4, rewrapped: 3, failures: [finding] });

    const epoch = 100;
    for (const refused of [
      () => keys.backup({ shares: 3, threshold: 2 }),
      () => keys.acceptEpoch(epoch, { reason: 'restored', dryRun: true }),
    ]) {
      const error = await rejection(refused);
      expect(error).toMatchObject(finding);
      expect(error.message).toContain(keyId);
    }
  });

  it('of the rows of keys in use keeps none of them from being replaced', async () => {
    const ds = await open(2);
    const { keys } = fieldEncryption(ds);
    const [active] = await keys.list();
    kms.failsOn = active?.id;
    const { key, replacement } = await keys.revoke(active?.id ?? '');
    expect([key.state, replacement?.state]).toEqual(['compromised', 'active']);
  });

  it('of the row that an entry of the audit log names is no outage of the log', async () => {
    const ds = await open(2);
    const { audit } = fieldEncryption(ds);
    const [{ sealedBy } = { sealedBy: '' }] = await audit.list();
    kms.failsOn = sealedBy;
    expect(await audit.verify()).toMatchObject({
      ok: false,
      broken: { seq: 1, problem: 'unopenedSeal' },
      undecided: [{ keyId: sealedBy }],
    });
    kms.outage = new Error('away');
    expect(await rejection(audit.verify())).toBeInstanceOf(KmsUnavailableError);
  });

  it('shares a failure among all who wait, and remembers it for a moment', async () => {
    const ds = await open(2);
    await forgetKeys(ds);
    kms.outage = new Error('away');
    const lookups = (): Promise<Error>[] =>
      SOME.map(() => rejection(ds.getRepository(Guest).findOneBy({ email: 'a@x.org' })));
    const failures = await Promise.all(lookups());
    expect(failures.every((failure) => failure instanceof KmsUnavailableError)).toBe(true);
    await Promise.all(lookups());
    expect(kms.unwraps).toBe(1);

    const reads = (): Promise<Error>[] => SOME.map(() => rejection(ds.getRepository(Guest).find()));
    await Promise.all(reads());
    await Promise.all(reads());
    expect(kms.unwraps).toBe(2);
  });

  it('or a wrong KEK is heard of where initialize() goes on without keys, and ready() says why', async () => {
    const database = await cleanup.create(kind, { entities: [Guest, Stay], synchronize: true });
    const application = 'inn';
    await cleanup.add(protect(database, { kms, application })).initialize();
    const warnings = new WarningLog();
    const events: KeyEvent[] = [];
    const ds = protect(
      database,
      { kms: new FakeKms(), application, onEvent: (event) => events.push(event) },
      { logger: warnings },
    );
    await cleanup.add(ds).initialize();
    const failure = await rejection(fieldEncryption(ds).ready());
    expect(failure).toMatchObject({ code: 'ERR_KEY_UNWRAP' });
    expect(events).toContainEqual({
      type: 'notReady',
      code: 'ERR_KEY_UNWRAP',
      message: failure.message,
    });
    expect(warnings.warnings).toEqual([expect.stringContaining(failure.message)]);
  });

  it('reads keys inside a transaction that holds the only connection', async () => {
    const ds = await open(1);
    await forgetKeys(ds);
    const found = await ds.transaction(async (manager) => {
      await manager.insert(Stay, { id: 9, reason: 'inside' });
      return manager.findOne(Guest, { where: { email: 'a@x.org' }, relations: { stays: true } });
    });
    expect(found).toMatchObject({ email: 'a@x.org', stays: [{ reason: 'r1' }, { reason: 'r2' }] });
  });

  it('leaves a query runner that the caller has made its connection', async () => {
    const ds = await open(2);
    const runner = ds.createQueryRunner();
    try {
      const session = SESSION[kind.dialect];
      const current = async (): Promise<unknown> =>
        session === undefined ? 'the only one' : runner.query(session);
      const before = await current();
      await forgetKeys(ds);
      await runner.manager.findOneByOrFail(Guest, { email: 'a@x.org' });
      expect(await current()).toEqual(before);
    } finally {
      await runner.release();
    }
  });
});
