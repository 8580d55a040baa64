import { randomUUID } from 'node:crypto';
import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { DataSource, QueryRunner } from 'typeorm';
import { Encrypted, fieldEncryption, KeyScope } from '../../src';
import { DATABASES } from '../support/databases';
import { Cleanup, protect } from '../support/protected-database';

@Entity()
class Visit {
  @PrimaryColumn('uuid') id: string = randomUUID();
  @KeyScope({ kind: 'tenant' }) @Column() tenant!: string;
  @Encrypted() notes!: string;
}

function visit(tenant: string): Visit {
  return Object.assign(new Visit(), { tenant, notes: `notes of ${tenant}` });
}

/** In SQLite such a transaction cannot write. */
const databases = DATABASES.filter(
  ({ dialect, unavailable }) => dialect !== 'sqlite' && unavailable === undefined,
);

describe.each(databases)('A transaction that began before others wrote ($name)', (kind) => {
  const cleanup = new Cleanup();
  let one: DataSource;
  let other: DataSource;
  let runner: QueryRunner;

  beforeEach(async () => {
    const database = await cleanup.create(kind, { entities: [Visit], synchronize: true });
    const open = async (): Promise<DataSource> => cleanup.add(await protect(database).initialize());
    [one, other] = [await open(), await open()];
    await other.manager.insert(Visit, visit('first'));
    runner = one.createQueryRunner();
    // The first read decides what a transaction sees at some levels of isolation.
    await runner.startTransaction();
    await runner.manager.find(Visit);
  });
  afterEach(async () => {
    await runner.release();
    await cleanup.run();
  });

  async function committed(): Promise<void> {
    await runner.commitTransaction();
    expect(await fieldEncryption(one).audit.verify()).toMatchObject({ ok: true });
  }

  it('uses the keys of a scope that another has made since', async () => {
    await other.manager.insert(Visit, visit('second'));
    await runner.manager.insert(Visit, [visit('second'), visit('third')]);
    await runner.manager.insert(Visit, visit('second'));
    await committed();
    expect(await other.manager.findBy(Visit, { tenant: 'second' })).toMatchObject([
      { notes: 'notes of second' },
      { notes: 'notes of second' },
      { notes: 'notes of second' },
    ]);
  });

  it('uses the newest of them', async () => {
    await other.manager.insert(Visit, visit('second'));
    await fieldEncryption(other).keys.rotateScopes({ scopes: [{ tenant: 'second' }] });
    await runner.manager.insert(Visit, visit('second'));
    await committed();
    const keys = await other.query<{ notes: string }[]>(
      `SELECT notes FROM visit WHERE tenant = 'second'`,
    );
    expect(new Set(keys.map(({ notes }) => notes.slice(0, 12))).size).toBe(2);
    expect(await other.manager.findBy(Visit, { tenant: 'second' })).toHaveLength(2);
  });

  it('records its keys after what others have recorded since', async () => {
    for (let count = 0; count < 60; count += 1) {
      await other.manager.insert(Visit, visit(`tenant ${String(count)}`));
    }
    await runner.manager.insert(Visit, visit('second'));
    await committed();
    expect(
      await fieldEncryption(one).audit.list({ operation: 'create', limit: 1_000 }),
    ).toHaveLength(64);
  });

  it('is one of many that make keys at once', async () => {
    await runner.rollbackTransaction();
    const tenants = Array.from({ length: 20 }, (_, i) => `tenant ${String(i)}`);
    await Promise.all(
      tenants.map((tenant, i) =>
        (i % 2 === 0 ? one : other).transaction(async (manager) => {
          await manager.find(Visit);
          await manager.insert(Visit, [visit(tenant), visit('shared')]);
        }),
      ),
    );
    await runner.startTransaction();
    await committed();
    const notes = (await one.manager.find(Visit)).map((each) => each.notes);
    expect(notes.filter((each) => each === 'notes of shared')).toHaveLength(20);
    expect(new Set(notes).size).toBe(22);
  });
});
