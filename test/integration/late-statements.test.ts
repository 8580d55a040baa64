import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { DataSource, Repository } from 'typeorm';
import { BlindIndex, Encrypted, fieldEncryption, KeyStateError } from '../../src';
import { UsedKeys } from '../../src/keys/cache/used-keys';
import { installationOf } from '../../src/typeorm/installation/installations';
import { describeDiagonal } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { heldBefore } from '../support/held-statement';
import { Cleanup, protect, rejection } from '../support/protected-database';

@Entity()
class Guest {
  @PrimaryColumn() id!: number;
  @Encrypted() @BlindIndex({ unique: true }) email!: string;
  @Encrypted({ nullable: true }) note!: string | null;
  @Encrypted({ type: 'bytes', storage: 'binary', nullable: true }) scan!: Buffer | null;
  @Column({ default: 0 }) visits!: number;
}

const MAX_AGE_MS = 900_000;

describeDiagonal('A statement that could not be sent in time', (kind) => {
  const cleanup = new Cleanup();
  let database: TestDatabase;
  let dataSource: DataSource;
  let guests: Repository<Guest>;
  let suspended = 0;

  beforeAll(async () => {
    database = await cleanup.create(kind, { entities: [Guest], synchronize: true });
    dataSource = cleanup.add(protect(database));
    await dataSource.initialize();
    guests = dataSource.getRepository(Guest);
  });
  beforeEach(() => {
    const now = Date.now.bind(Date);
    jest.spyOn(Date, 'now').mockImplementation(() => now() + suspended);
  });
  beforeEach(async () => {
    await fieldEncryption(dataSource).ready();
    await guests.clear();
    await guests.insert({ id: 1, email: 'ada@x.org', note: 'first' });
  });
  afterAll(() => cleanup.run());

  /** Lets the process stand still just before a statement is sent, for as long as a key may be old. */
  async function suspendedBefore(
    isIt: RegExp,
    work: () => Promise<unknown>,
    meanwhile: () => Promise<unknown> = () => Promise.resolve(),
  ): Promise<unknown> {
    let isArmed = true;
    const held = heldBefore(dataSource, (sql) => isArmed && isIt.test(sql));
    const outcome = work().then(
      () => 'sent',
      (error: unknown) => error,
    );
    await held.reached;
    isArmed = false;
    suspended += MAX_AGE_MS;
    await meanwhile();
    held.letGo();
    return outcome;
  }

  it.each<[string, RegExp, () => Promise<unknown>]>([
    ['insert', /^INSERT/, () => guests.insert({ id: 2, email: 'bob@x.org' })],
    ['save', /^INSERT/, () => guests.save({ id: 2, email: 'bob@x.org', note: 'new' })],
    ['save of a change', /^UPDATE/, () => guests.save({ id: 1, note: 'changed' })],
    ['update', /^UPDATE/, () => guests.update({ id: 1 }, { email: 'eve@x.org' })],
    ['upsert', /^INSERT/, () => guests.upsert({ id: 1, email: 'eve@x.org' }, ['id'])],
    ['update by token', /^UPDATE/, () => guests.update({ email: 'ada@x.org' }, { visits: 2 })],
    ['delete by token', /^DELETE/, () => guests.delete({ email: 'ada@x.org' })],
    ['lookup', /^SELECT/, () => guests.findOneBy({ email: 'ada@x.org' })],
    ['count', /^SELECT/, () => guests.countBy({ email: 'ada@x.org' })],
    [
      'lookup of a builder with brackets',
      /^SELECT/,
      () =>
        guests
          .createQueryBuilder('g')
          .where([{ email: 'ada@x.org' }, { id: 7 }])
          .take(1)
          .getMany(),
    ],
  ])('is refused, and nothing is done: %s', async (_, isIt, work) => {
    const error = await suspendedBefore(isIt, work);

    expect(error).toBeInstanceOf(KeyStateError);
    expect(error).toMatchObject({ code: 'ERR_KEY_STATE', retryable: true });
    expect((error as KeyStateError).keyId).toMatch(/^[0-9a-f]{16}$/);
    expect(await guests.find()).toMatchObject([
      { id: 1, email: 'ada@x.org', note: 'first', visits: 0 },
    ]);
    await fieldEncryption(dataSource).ready();
    expect(await work().catch((again: unknown) => again)).not.toBeInstanceOf(Error);
  });

  it('is sent where it needs no key', async () => {
    expect(await suspendedBefore(/^UPDATE/, () => guests.update({ id: 1 }, { visits: 5 }))).toBe(
      'sent',
    );
    expect(await suspendedBefore(/^SELECT/, () => guests.countBy({ visits: 5 }))).toBe('sent');
  });

  it('is sent where its keys were confirmed again meanwhile', async () => {
    const insert = () => guests.insert({ id: 2, email: 'bob@x.org' });
    const ready = () => fieldEncryption(dataSource).ready();
    expect(await suspendedBefore(/^INSERT INTO ["`]guest/, insert, ready)).toBe('sent');
    expect(await guests.findOneByOrFail({ email: 'bob@x.org' })).toMatchObject({ id: 2 });
  });

  it('is refused where its key was replaced meanwhile', async () => {
    const insert = () => guests.insert({ id: 2, email: 'bob@x.org' });
    const rotate = () => fieldEncryption(dataSource).keys.rotate();
    const error = await suspendedBefore(/^INSERT INTO ["`]guest/, insert, rotate);
    expect(error).toMatchObject({ code: 'ERR_KEY_STATE', retryable: true });
    expect(await guests.count()).toBe(1);
  });

  it('is refused in the middle of a transaction, of which the rest can be rolled back', async () => {
    const error = await suspendedBefore(/^INSERT/, () =>
      dataSource.transaction(async (manager) => {
        await manager.update(Guest, { id: 1 }, { visits: 9 });
        await manager.insert(Guest, { id: 2, email: 'bob@x.org' });
      }),
    );
    expect(error).toBeInstanceOf(KeyStateError);
    expect(await guests.find()).toMatchObject([{ id: 1, visits: 0 }]);
  });

  it('is refused after a subscriber to queries took too long', async () => {
    const waited = { for: 0 };
    const slow = {
      beforeQuery: async ({ query }: { query: string }) => {
        if (!/^INSERT INTO ["`]guest/.test(query)) return;
        await new Promise((resolve) => setTimeout(resolve, 5));
        suspended += MAX_AGE_MS;
        await new Promise((resolve) => setTimeout(resolve, 5));
        waited.for += 1;
      },
    };
    dataSource.subscribers.push(slow);
    const outcome = await guests
      .insert({ id: 2, email: 'bob@x.org' })
      .catch((error: unknown) => error);
    // Not every driver of TypeORM waits for them.
    const isSentBefore = waited.for === 0;
    dataSource.subscribers.splice(dataSource.subscribers.indexOf(slow), 1);
    expect(outcome instanceof KeyStateError).toBe(!isSentBefore);
    expect(await guests.count()).toBe(isSentBefore ? 2 : 1);
  });

  it('is refused by the database where the process has noticed nothing', async () => {
    const hasty = cleanup.add(
      protect(database, { keyCache: { ttlMs: 100, maxAgeMs: 300 } }, { synchronize: false }),
    );
    await hasty.initialize();
    const repository = hasty.getRepository(Guest);
    const scan = Buffer.from('scan');
    const writes: [RegExp, () => Promise<unknown>][] = [
      [/^INSERT/, () => repository.insert({ id: 2, email: 'bob@x.org', note: 'n', scan })],
      [/^INSERT/, () => repository.upsert([{ id: 1, email: 'eve@x.org', scan }], ['id'])],
      [/^UPDATE/, () => repository.save({ id: 1, scan })],
      [/^UPDATE/, () => repository.update({ id: 1 }, { note: 'changed' })],
    ];
    for (const [isIt, write] of writes) {
      await installationOf(hasty).confirmAll();
      const check = jest.spyOn(UsedKeys.prototype, 'requireUsable').mockReturnValue();
      let isArmed = true;
      const held = heldBefore(hasty, (sql) => isArmed && isIt.test(sql));
      const outcome = rejection(write());
      await held.reached;
      isArmed = false;
      await new Promise((resolve) => setTimeout(resolve, 350));
      held.letGo();
      expect(await outcome).toMatchObject({ code: 'ERR_KEY_STATE', retryable: true });
      check.mockRestore();
    }
    expect(await guests.find()).toMatchObject([{ id: 1, email: 'ada@x.org', note: 'first' }]);
    for (const [, write] of writes) {
      await installationOf(hasty).confirmAll();
      await write();
    }
    expect(await guests.find({ order: { id: 'ASC' } })).toMatchObject([
      { id: 1, email: 'eve@x.org', note: 'changed', scan },
      { id: 2, email: 'bob@x.org', note: 'n', scan },
    ]);
  });

  const pooled = kind.dialect === 'sqlite' ? it.skip : it;
  pooled('is refused when it gets a connection of the pool too late', async () => {
    const small = cleanup.add(protect(database, {}, { poolSize: 1, synchronize: false }));
    await small.initialize();
    const runner = small.createQueryRunner();
    await runner.connect();
    const inserts = [2, 3, 4].map((id) =>
      rejection(small.getRepository(Guest).insert({ id, email: `${String(id)}@x.org` })),
    );
    await new Promise((resolve) => setTimeout(resolve, 20));
    suspended += MAX_AGE_MS;
    await runner.release();
    for (const error of await Promise.all(inserts)) {
      expect(error).toMatchObject({ code: 'ERR_KEY_STATE', retryable: true });
    }
    expect(await guests.count()).toBe(1);
  });
});
