import { Column, Entity, EntitySchema, Index, ManyToOne, PrimaryColumn, Unique } from 'typeorm';
import type { DataSource, Repository } from 'typeorm';
import {
  BlindIndex,
  blindIndexColumns,
  Encrypted,
  encryptedColumn,
  fieldEncryption,
  InvalidFieldPolicyError,
  UnsupportedQueryError,
} from '../../src';
import type { BlindIndexOptions, FieldEncryptionOptions } from '../../src';
import { SETTLING_MS } from '../../src/keys/store/watched-key-store';
import { moveDatabaseClock } from '../support/database-clock';
import { describeDiagonal } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { ids } from '../support/lookup-world';
import { Cleanup, protect, rejection } from '../support/protected-database';
import { isUniqueViolation } from '../support/unique-violation';
import { sqlOf } from '../support/sql-of';

@Entity()
class Tenant {
  @PrimaryColumn() id!: number;
}

interface User {
  id: number;
  tenant: Tenant | null;
  region: string | null;
  email: string | null;
  note: string | null;
}

/** One table, as processes before, during and after a change of its index define it. */
function userWith(email: BlindIndexOptions, uniqueWith = ['tenant']): new () => User {
  @Entity({ name: 'app_user' })
  class AppUser {
    @PrimaryColumn() id!: number;
    @ManyToOne(() => Tenant, { nullable: true }) tenant!: Tenant | null;
    @Column({ type: 'varchar', nullable: true, default: 'eu' }) region!: string | null;
    @Encrypted({ id: 'user.email', nullable: true, check: false })
    @BlindIndex({ uniqueWith, ...email })
    email!: string | null;
    @Column({ type: 'varchar', nullable: true }) note!: string | null;
  }
  return AppUser;
}

const Before = userWith({});
const During = userWith({ normalize: 'email', previous: [{ normalize: 'exact' }] });
const Three = userWith({}, ['tenant', 'region']);
const MAX_AGE_MS = 900_000;

describeDiagonal('A value that is unique with others', (kind) => {
  const cleanup = new Cleanup();
  let database: TestDatabase;
  let ahead: number;

  beforeEach(async () => {
    ahead = 0;
    database = await cleanup.create(kind, { synchronize: false });
  });

  afterEach(() => cleanup.run());

  async function open(
    entity: new () => User = Before,
    options: Partial<FieldEncryptionOptions> = {},
    synchronize = true,
  ): Promise<DataSource> {
    const ds = protect(database, options, { entities: [entity, Tenant], synchronize });
    moveDatabaseClock(ds, () => ahead);
    await cleanup.add(ds).initialize();
    if (synchronize) await ds.getRepository(Tenant).insert([{ id: 1 }, { id: 2 }, { id: 3 }]);
    return ds;
  }

  async function rotated(ds: DataSource): Promise<void> {
    const { keys } = fieldEncryption(ds);
    await keys.rotateIndex();
    ahead += 2 * MAX_AGE_MS + SETTLING_MS;
    expect(await keys.rotateIndex()).toMatchObject({ step: 'activated' });
  }

  async function expectDuplicate(work: () => Promise<unknown>): Promise<void> {
    const error = await rejection(work);
    expect([error.message, isUniqueViolation(error)]).toEqual([error.message, true]);
  }

  const in1 = { tenant: { id: 1 } };
  const in2 = { tenant: { id: 2 } };

  /** Every way to store (1, ada) a second time, over rows 1 (1, ada), 2 (2, ada), 3 (1, bob), 4 (null, ada). */
  function duplicates(users: Repository<User>): (() => Promise<unknown>)[] {
    const { manager } = users;
    const entity = users.target;
    const update = () => manager.createQueryBuilder().update(entity);
    return [
      () => users.insert({ id: 9, ...in1, email: 'ada' }),
      () =>
        users.insert([
          { id: 8, ...in2, email: 'new' },
          { id: 9, ...in1, email: 'ada' },
        ]),
      () => users.save({ id: 9, ...in1, email: 'ada' }),
      () => users.save({ id: 3, email: 'ada' }),
      () => users.save({ id: 2, ...in1 }),
      () => users.update({ id: 3 }, { email: 'ada' }),
      () => users.update({ note: 'three' }, { email: 'ada' }),
      () => users.update({ id: 2 }, in1),
      () => users.update({ email: 'ada', note: 'two' }, in1),
      () => users.update({ id: 4 }, { ...in1, email: 'ada' }),
      () => users.update({ id: 4 }, in1),
      () => update().set(in1).where('note = :note', { note: 'two' }).execute(),
      () =>
        update()
          .set({ tenant: () => '1' })
          .where({ id: 2 })
          .execute(),
      () => manager.createQueryBuilder().relation(entity, 'tenant').of(2).set(1),
      () => manager.transaction((inside) => inside.update(entity, { id: 2 }, in1)),
      () => users.upsert({ id: 4, ...in1, email: 'ada' }, ['id']),
    ];
  }

  async function fill(users: Repository<User>): Promise<void> {
    await users.insert([
      { id: 1, ...in1, email: 'ada', note: 'one' },
      { id: 2, ...in2, email: 'ada', note: 'two' },
      { id: 3, ...in1, email: 'bob', note: 'three' },
      { id: 4, tenant: null, email: 'ada', note: 'four' },
    ]);
  }

  async function expectAsFilled(users: Repository<User>): Promise<void> {
    const rows = await users.find({ relations: { tenant: true }, order: { id: 'ASC' } });
    expect(rows.map(({ id, tenant, email }) => [id, tenant?.id, email])).toEqual([
      [1, 1, 'ada'],
      [2, 2, 'ada'],
      [3, 1, 'bob'],
      [4, undefined, 'ada'],
    ]);
  }

  it('is kept so by an index of the database, in which NULL equals nothing', async () => {
    const users = (await open()).getRepository(Before);
    await fill(users);
    for (const duplicate of duplicates(users)) await expectDuplicate(duplicate);
    await users.insert([
      { id: 5, tenant: null, email: 'ada' },
      { id: 6, ...in1, email: null },
      { id: 7, ...in1, email: null },
    ]);
    expect(ids(await users.findBy({ email: 'ada', tenant: { id: 1 } }))).toEqual([1]);
    expect(ids(await users.findBy({ email: 'ada' }))).toEqual([1, 2, 4, 5]);
  });

  it('is kept so in every write while the index key is rotated', async () => {
    const ds = await open();
    const users = ds.getRepository(Before);
    await fill(users);
    const before = await ds.query('SELECT id, email_bidx FROM app_user ORDER BY id');
    await rotated(ds);
    for (const duplicate of duplicates(users)) {
      await expectDuplicate(duplicate);
      await expectAsFilled(users);
      // As though nobody had looked yet.
      for (const { id, email_bidx: token } of before as { id: number; email_bidx: string }[]) {
        await ds.query(`UPDATE app_user SET email_bidx = '${token}' WHERE id = ${String(id)}`);
      }
    }
    await users.update({ id: 2 }, { tenant: { id: 3 } });
    await users.update({ id: 4 }, { tenant: { id: 2 } });
    await users.insert({ id: 5, tenant: null, email: 'ada' });
    expect(ids(await users.findBy({ email: 'ada' }))).toEqual([1, 2, 4, 5]);
  });

  it('touches no row of another tenant while the index key is rotated', async () => {
    const ds = await open();
    const users = ds.getRepository(Before);
    await fill(users);
    const tokens = async () =>
      new Map(
        (
          await ds.query<{ id: number; t: string }[]>('SELECT id, email_bidx AS t FROM app_user')
        ).map(({ id, t }) => [id, t]),
      );
    const before = await tokens();
    await rotated(ds);
    await users.insert({ id: 9, tenant: { id: 3 }, email: 'ada' });
    for (const id of [1, 2, 3, 4]) expect((await tokens()).get(id)).toBe(before.get(id));
    await rejection(users.insert({ id: 10, ...in1, email: 'ada' }));
    await users.update({ id: 9 }, { note: 'nine' });
    for (const id of [2, 3, 4]) expect((await tokens()).get(id)).toBe(before.get(id));
  });

  it('is kept so under two definitions, and over what is still in clear', async () => {
    await fill((await open()).getRepository(Before));
    const during = (await open(During, {}, false)).getRepository(During);
    for (const duplicate of duplicates(during)) await expectDuplicate(duplicate);

    const legacy = await open(Before, { legacyPlaintext: ['AppUser.email'] }, false);
    const users = legacy.getRepository(Before);
    await legacy.query(
      sqlOf(
        kind,
        `INSERT INTO app_user (id, "tenantId", email) VALUES (11, 1, 'clear'), (12, 2, 'clear')`,
      ),
    );
    await expectDuplicate(() => users.insert({ id: 13, ...in1, email: 'clear' }));
    await expectDuplicate(() => users.update({ id: 12 }, in1));
    expect(ids(await users.findBy({ email: 'clear' }))).toEqual([11, 12]);
  });

  it('is the target of an upsert, within its tenant and in a transition, too', async () => {
    const ds = await open();
    const users = ds.getRepository(Before);
    await fill(users);
    for (const note of ['first', 'second']) {
      await users.upsert({ id: 20, ...in2, email: 'ada', note }, ['tenant', 'email']);
      expect(ids(await users.findBy({ note }))).toHaveLength(1);
      expect(await users.countBy({ email: 'ada' })).toBe(3);
      if (note === 'first') await rotated(ds);
    }
    await users.upsert({ id: 21, tenant: { id: 3 }, email: 'ada' }, ['tenant', 'email']);
    expect(await users.countBy({ email: 'ada' })).toBe(4);

    for (const [work, names] of [
      [() => users.upsert({ id: 1, email: 'ada' }, ['email']), 'email'],
      [() => users.upsert({ id: 1, region: 'x', email: 'ada' }, ['region', 'email']), 'region'],
      [() => users.upsert({ id: 2, ...in1 }, ['id']), 'Give "email"'],
    ] as const) {
      const error = await rejection(work);
      expect(error).toBeInstanceOf(UnsupportedQueryError);
      expect(error.message).toContain('AppUser.email');
      expect(error.message).toContain(names);
    }
  });

  // In one process, drivers of SQLite that block would wait for a transaction that they hold up.
  const [race, here] =
    kind.dialect === 'sqlite'
      ? [it.skip, ' (not here: the driver would wait for itself)']
      : [it, ''];
  race(
    `is won by one of two processes with different roots, one of which changes the tenant only${here}`,
    async () => {
      const [first, second] = [await open(), await open(Before, {}, false)];
      await fieldEncryption(first).keys.rotateIndex();
      await fieldEncryption(second).keys.rotateIndex();
      ahead += 2 * MAX_AGE_MS + SETTLING_MS;
      await fieldEncryption(first).keys.rotateIndex();
      for (let round = 1; round <= 10; round++) {
        const email = `race${String(round)}`;
        await first.getRepository(Before).insert({ id: round, ...in2, email });
        const outcomes = await Promise.allSettled([
          second.getRepository(Before).insert({ id: 100 + round, ...in1, email }),
          first.getRepository(Before).update({ id: round }, in1),
        ]);
        expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
        expect(await first.getRepository(Before).countBy({ email, ...in1 })).toBe(1);
      }
    },
  );

  it('may be so with several others, of which a default or an update leaves some', async () => {
    const ds = await open(Three);
    const users = ds.getRepository(Three);
    await users.insert([
      { id: 1, ...in1, region: 'eu', email: 'ada' },
      { id: 2, ...in1, region: 'us', email: 'ada' },
      { id: 3, ...in2, region: 'eu', email: 'ada' },
    ]);
    await rotated(ds);
    await expectDuplicate(() => users.insert({ id: 9, ...in1, email: 'ada' }));
    await expectDuplicate(() => users.update({ id: 2 }, { region: 'eu' }));
    await expectDuplicate(() => users.update({ id: 3 }, in1));
    await expectDuplicate(() => users.update({ email: 'ada', region: 'us' }, { region: 'eu' }));
    await users.update({ id: 3 }, { ...in1, region: 'asia' });
    expect(await users.countBy({ email: 'ada' })).toBe(3);
  });

  it('is reported with the row that has it when rows are reindexed', async () => {
    const before = (await open()).getRepository(Before);
    await before.insert([
      { id: 1, ...in2, email: 'ADA' },
      { id: 2, ...in1, email: 'ADA' },
      { id: 3, ...in1, email: 'ada' },
    ]);
    const during = await open(During, {}, false);
    const { failures } = await fieldEncryption(during).reindex();
    expect(failures).toEqual([
      expect.objectContaining({
        code: 'DUPLICATE_TOKEN',
        property: 'email',
        primaryKey: [expect.any(Number)],
        conflictsWith: [expect.any(Number)],
      }),
    ]);
    const [failure] = failures;
    expect([failure?.primaryKey[0], failure?.conflictsWith?.[0]].sort()).toEqual([2, 3]);
  });
});

class Place {
  @Column({ default: 'eu' }) region!: string;
  @Encrypted() @BlindIndex({ uniqueWith: ['region', 'owner'] }) code!: string;
}

@Entity()
class Shop {
  @PrimaryColumn() id!: number;
  @Column() owner!: number;
  @Column(() => Place) place!: Place;
}

const Badge = new EntitySchema<{ id: number; owner: number; code: string }>({
  name: 'Badge',
  columns: {
    id: { type: Number, primary: true },
    owner: { type: Number },
    code: encryptedColumn(),
    ...blindIndexColumns('code', { uniqueWith: ['owner'] }),
  },
});

describeDiagonal('uniqueWith', (kind) => {
  const cleanup = new Cleanup();
  afterEach(() => cleanup.run());

  async function open(...entities: unknown[]): Promise<DataSource> {
    const database = await cleanup.create(kind, {
      entities: entities as never,
      synchronize: true,
    });
    return cleanup.add(protect(database)).initialize();
  }

  it('works in embedded classes and in an EntitySchema', async () => {
    const ds = await open(Shop, Badge);
    const shops = ds.getRepository(Shop);
    await shops.insert({ id: 1, owner: 1, place: { region: 'eu', code: 'x' } });
    await shops.insert({ id: 2, owner: 2, place: { region: 'eu', code: 'x' } });
    expect(
      isUniqueViolation(
        await rejection(shops.insert({ id: 3, owner: 1, place: { region: 'eu', code: 'x' } })),
      ),
    ).toBe(true);
    const badges = ds.getRepository(Badge);
    await badges.insert([
      { id: 1, owner: 1, code: 'x' },
      { id: 2, owner: 2, code: 'x' },
    ]);
    expect(isUniqueViolation(await rejection(badges.update({ id: 2 }, { owner: 1 })))).toBe(true);
  });

  it.each([
    [{ uniqueWith: ['nobody'] }, 'nobody'],
    [{ uniqueWith: ['other'] }, 'other'],
    [{ uniqueWith: ['email_bidx'] }, 'email_bidx'],
    [{ uniqueWith: [] }, 'uniqueWith'],
    [{ uniqueWith: ['tenant'], unique: true }, 'unique'],
    [{ uniqueWith: ['tenant'], bits: 8 }, 'bits'],
  ] as const)('is refused by name as %j', async (options, named) => {
    @Entity()
    class Refused {
      @PrimaryColumn() id!: number;
      @Column() tenant!: number;
      @Encrypted() other!: string;
      @Encrypted() @BlindIndex(options) email!: string;
    }
    const error = await rejection(open(Refused));
    expect(error).toBeInstanceOf(InvalidFieldPolicyError);
    expect(error).toMatchObject({ entity: 'Refused', property: 'email' });
    expect(error.message).toContain(named);
  });

  it.each([
    ['@Unique with the property', Unique(['tenant', 'email'])],
    ['a unique @Index with the property', Index(['tenant', 'email'], { unique: true })],
    ['@Unique with the index column', Unique(['tenant', 'email_bidx'])],
    ['a unique @Index with the index column', Index(['tenant', 'email_bidx'], { unique: true })],
    ['a partial unique @Index', Index(['tenant', 'email_bidx'], { unique: true, where: 'id > 0' })],
  ])('is what %s is told to use', async (_, decorate) => {
    class Constrained {
      @PrimaryColumn() id!: number;
      @Column() tenant!: number;
      @Encrypted() @BlindIndex() email!: string;
    }
    Entity({ name: 'constrained' })(Constrained);
    decorate(Constrained);
    const error = await rejection(open(Constrained));
    expect(error).toMatchObject({ code: 'ERR_FIELD_POLICY', property: 'email' });
    expect(error.message).toContain("uniqueWith: ['tenant']");
  });

  it('leaves a plain index over the index column to whoever declares it', async () => {
    @Entity()
    @Index(['tenant', 'email_bidx'])
    class Indexed {
      @PrimaryColumn() id!: number;
      @Column() tenant!: number;
      @Encrypted() @BlindIndex() email!: string;
    }
    const ds = await open(Indexed);
    expect((await ds.driver.createSchemaBuilder().log()).upQueries).toEqual([]);
  });
});
