import { DataSource, EntityNotFoundError, In, Not, SelectQueryBuilder } from 'typeorm';
import type * as Typeorm from 'typeorm';
import type * as Library from '../../src';
import { ConfigurationError, fieldEncryption, withFieldEncryption } from '../../src';
import { describeDiagonal } from '../support/databases';
import {
  Clinic,
  expectRefused,
  ids,
  Mailbox,
  openWorld,
  Patient,
  Visit,
} from '../support/lookup-world';
import type { World } from '../support/lookup-world';
import { Cleanup, keyFileKms, rejection } from '../support/protected-database';

const email = (n: number): string => `zq7~p${String(n)}@example.org`;

/** The overload of `createQueryBuilder` that is called here. */
type CreatesFor = (
  this: DataSource,
  entity: typeof Patient,
  alias: string,
) => SelectQueryBuilder<Patient>;

/** Another copy of a package, as `npm install` leaves one where versions do not fit together. */
function secondCopy<T>(load: () => T, ofSameTypeorm = false): T {
  const typeorm: unknown = require('typeorm');
  let copy: T | undefined;
  jest.isolateModules(() => {
    if (ofSameTypeorm) jest.doMock('typeorm', () => typeorm);
    copy = load();
  });
  jest.dontMock('typeorm');
  return copy as T;
}

describeDiagonal('A query builder, no matter what has made it', (database) => {
  let world: World;

  beforeAll(async () => {
    world = await openWorld(database);
  });

  afterAll(async () => {
    const leaked = world.log.withPlaintext();
    await world.close();
    expect(leaked).toEqual([]);
  });

  it('looks up by one that the constructor of TypeORM has made', async () => {
    const made = new SelectQueryBuilder<Patient>(world.ds).select('p').from(Patient, 'p');
    expect(ids(await made.where({ email: In([email(1), email(2)]) }).getMany())).toEqual([1, 2]);
    const create = DataSource.prototype.createQueryBuilder as unknown as CreatesFor;
    const begun = create.call(world.ds, Patient, 'p');
    expect(await begun.where({ email: Not(In([email(1), email(2)])) }).getCount()).toBe(8);
    await expectRefused(world, () => begun.where('p.email = :v', { v: email(1) }).getMany());
  });

  it('looks up by a copy, a clone and a sub-query of one', async () => {
    const original = world.ds.createQueryBuilder(Patient, 'p').where({ pet: Not('zq7~cat') });
    for (const copy of [new SelectQueryBuilder(original), original.clone()]) {
      copy.andWhere({ email: In([email(1), email(2), email(3)]) }).orderBy('p.id');
      const found = await copy.leftJoinAndSelect('p.visits', 'v').take(2).getMany();
      expect(found.every((patient) => patient.email.toLowerCase().startsWith('zq7~'))).toBe(true);
    }
    const outer = new SelectQueryBuilder<Visit>(world.ds).select('v').from(Visit, 'v');
    const inner = outer
      .subQuery()
      .select('x.id')
      .from(Patient, 'x')
      .where({ email: email(2) });
    const visits = await outer.where(`v.patientId IN ${inner.getQuery()}`).getMany();
    expect(visits.length).toBeGreaterThan(0);
  });

  it('updates and deletes by builders that another kind has become', async () => {
    const made = () => new SelectQueryBuilder<Patient>(world.ds);
    await made()
      .update(Patient)
      .set({ ssn: 'zq7~new' })
      .where({ email: email(9) })
      .execute();
    const patients = world.ds.getRepository(Patient);
    expect(ids(await patients.findBy({ ssn: 'zq7~new' }))).toEqual([9]);
    await made().softDelete().from(Patient).where({ ssn: 'zq7~new' }).execute();
    expect(await patients.countBy({ id: 9 })).toBe(0);
  });

  it('leaves createQueryBuilder to code that changes it', () => {
    expect(Object.hasOwn(world.ds, 'createQueryBuilder')).toBe(false);
    expect(DataSource.prototype.createQueryBuilder).toHaveLength(3);
  });

  it('calls methods that somebody has changed afterwards, and is called by them', async () => {
    const { prototype } = SelectQueryBuilder;
    const { getQuery } = prototype;
    let calls = 0;
    prototype.getQuery = function (this: SelectQueryBuilder<Patient>) {
      calls += 1;
      return `/* ${String(calls)} */ ${getQuery.call(this)}`;
    };
    try {
      const found = await world.ds.getRepository(Patient).findBy({ email: email(3) });
      expect(ids(found)).toEqual([3]);
      expect(calls).toBeGreaterThan(0);
    } finally {
      prototype.getQuery = getQuery;
    }
  });

  it('does nothing for a DataSource that is not wrapped', async () => {
    const cleanup = new Cleanup();
    try {
      const { dataSourceOptions } = await cleanup.create(database, {
        entities: [Mailbox],
        synchronize: true,
      });
      const plain = await cleanup.add(new DataSource(dataSourceOptions)).initialize();
      const mailboxes = plain.getRepository(Mailbox);
      await mailboxes.insert({ email: 'x', owner: 1 });
      const builder = plain.createQueryBuilder(Mailbox, 'm');
      expect(await builder.where('UPPER(m.email) = :v', { v: 'X' }).getCount()).toBe(1);
      const where = new (class Where {
        email = 'missing';
      })();
      const error = await rejection(mailboxes.findOneByOrFail(where));
      expect((error as EntityNotFoundError).criteria).toBe(where);
    } finally {
      await cleanup.run();
    }
  });

  it('leaves the error of an entity without encrypted properties as TypeORM made it', async () => {
    const mailboxes = world.ds.getRepository(Mailbox);
    const where = new (class Where {
      email = 'missing';
    })();
    const options = { where };
    for (const [error, criteria] of [
      [await rejection(mailboxes.findOneByOrFail(where)), where],
      [await rejection(mailboxes.findOneOrFail(options)), options],
    ] as const) {
      expect(error).toBeInstanceOf(EntityNotFoundError);
      expect((error as EntityNotFoundError).criteria).toBe(criteria);
    }
    const patients = world.ds.getRepository(Patient);
    const plain = { where: { name: 'missing', clinic: { title: 'none' } } };
    const kept = await rejection(patients.findOneOrFail(plain));
    expect((kept as EntityNotFoundError).criteria).toBe(plain);
    const redacted = await rejection(
      patients.findOneByOrFail({ name: 'n1', clinic: { licence: 'zq7~none' } }),
    );
    expect((redacted as EntityNotFoundError).criteria).toEqual({
      name: 'n1',
      clinic: { licence: '[encrypted]' },
    });
  });

  it('refuses what a builder of another copy of TypeORM would send', async () => {
    const other = secondCopy(() => require('typeorm') as typeof Typeorm);
    const made = () => new other.SelectQueryBuilder<Patient>(world.ds as never);
    const select = () => made().select('p').from(Patient, 'p');
    await expectRefused(world, () =>
      select()
        .where({ email: email(1) })
        .getMany(),
    );
    await expectRefused(world, () =>
      select()
        .where('p.email = :v', { v: email(1) })
        .getMany(),
    );
    await expectRefused(world, () =>
      made()
        .delete()
        .from(Patient)
        .where({ email: Not(In([email(1)])) })
        .execute(),
    );
    await expectRefused(world, () =>
      made()
        .update(Patient)
        .set({ email: email(1) })
        .where({ id: 1 })
        .execute(),
    );
    const error = await rejection(async () =>
      made().insert().into(Clinic).values({ id: 9, title: 't', licence: 'zq7~9' }).execute(),
    );
    expect(error).toMatchObject({ code: 'ERR_UNSUPPORTED_QUERY', entity: 'Clinic' });
    expect(error.message).toContain('copy of TypeORM');
    expect(await select().where({ name: 'n1' }).getCount()).toBe(1);
  });

  // No other database has these forms of names, or runs SQL in a text.
  if (database.type === 'postgres') {
    it.each<[string, (made: () => SelectQueryBuilder<Patient>) => { execute(): unknown }]>([
      [
        'a name by the numbers of its characters',
        (made) => made().select('1').from('mailbox', 'm').where('(SELECT U&"em\\0061il" = 1)'),
      ],
      [
        'a table by the numbers of its characters',
        (made) =>
          made().select('1').from('mailbox', 'm').where('1 IN (SELECT 1 FROM U&"p\\0061tient" x)'),
      ],
      [
        'SQL in a text',
        (made) =>
          made()
            .select("query_to_xml('select email from pat' || 'ient', true, true, '')", 'x')
            .from('mailbox', 'm'),
      ],
    ])('refuses %s from a builder of another copy of TypeORM', async (_what, build) => {
      const other = secondCopy(() => require('typeorm') as typeof Typeorm);
      const made = () => new other.SelectQueryBuilder<Patient>(world.ds as never);
      const named = { entity: 'Clinic', property: 'licence' };
      await expectRefused(world, () => build(made).execute(), named);
    });

    it.each([
      'to_jsonb(patient)::text = :v',
      'patient.to_jsonb::text = :v',
      'public.patient.row_to_json::text = :v',
    ])('refuses %j in what such a builder changes', async (condition) => {
      const other = secondCopy(() => require('typeorm') as typeof Typeorm);
      const made = () => new other.SelectQueryBuilder<Patient>(world.ds as never);
      const v = { v: email(1) };
      await expectRefused(world, () =>
        made().delete().from('patient').where(condition, v).execute(),
      );
      const update = () =>
        made()
          .update('patient' as never)
          .set({ name: 'x' });
      await expectRefused(world, () => update().where(condition, v).execute());
    });
  }

  it('refuses by name a DataSource that another copy of TypeORM has made', () => {
    const other = secondCopy(() => require('typeorm') as typeof Typeorm);
    const { options } = world.ds;
    expect(() => withFieldEncryption(new other.DataSource(options), { kms: keyFileKms() })).toThrow(
      /another copy of TypeORM.*npm dedupe/s,
    );
  });

  it('tells that there are two copies of this library', async () => {
    const load = () => require('../../src') as typeof Library;
    const other = secondCopy(load, true);
    const wrapped = () => other.withFieldEncryption(world.ds, { kms: keyFileKms() });
    for (const use of [wrapped, () => other.fieldEncryption(world.ds).ready()]) {
      const error = await rejection(async () => use());
      expect(error).toBeInstanceOf(other.ConfigurationError);
      expect(error.message).toMatch(/another copy of typeorm-field-encryption.*npm dedupe/s);
    }
    expect(fieldEncryption(world.ds)).toBeDefined();
  });

  it('tells that another copy of this library has marked a column, whatever its transformer', async () => {
    const other = secondCopy(() => require('../../src') as typeof Library, true);
    const { EntitySchema } = require('typeorm') as typeof Typeorm;
    const asIs = { to: (value: unknown) => value, from: (value: unknown) => value };
    for (const column of [
      other.encryptedColumn(),
      { ...other.encryptedColumn(), transformer: asIs },
    ]) {
      const schema = new EntitySchema<{ id: number; secret: string }>({
        name: 'Marked',
        columns: { id: { type: Number, primary: true }, secret: column },
      });
      const cleanup = new Cleanup();
      try {
        const { dataSourceOptions } = await cleanup.create(database, { entities: [schema] });
        const dataSource = cleanup.add(
          withFieldEncryption(new DataSource(dataSourceOptions), { kms: keyFileKms() }),
        );
        const error = await rejection(dataSource.initialize());
        expect(error).toBeInstanceOf(ConfigurationError);
        expect(error).toMatchObject({ entity: 'Marked', property: 'secret' });
        expect(error.message).toMatch(/another copy of typeorm-field-encryption.*npm dedupe/s);
      } finally {
        await cleanup.run();
      }
    }
  });
});
