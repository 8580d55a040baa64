import { In, Not } from 'typeorm';
import type { Repository } from 'typeorm';
import { inspect } from 'node:util';
import { describeEachDatabase } from '../support/databases';
import { CANARY, expectRefused, ids, openWorld, Patient } from '../support/lookup-world';
import type { World } from '../support/lookup-world';
import { rejection } from '../support/protected-database';

describeEachDatabase('lookups through a repository', (database) => {
  let world: World;
  let patients: Repository<Patient>;

  beforeEach(async () => {
    world = await openWorld(database);
    patients = world.ds.getRepository(Patient);
  });

  afterEach(async () => {
    const leaked = world.log.withPlaintext();
    await world.close();
    expect(leaked).toEqual([]);
  });

  it('finds by an encrypted property with every method that finds', async () => {
    const where = { email: 'zq7~p3@EXAMPLE.org' };
    expect(ids(await patients.find({ where }))).toEqual([3]);
    expect(ids(await patients.findBy(where))).toEqual([3]);
    expect((await patients.findOne({ where }))?.id).toBe(3);
    expect((await patients.findOneBy(where))?.id).toBe(3);
    expect((await patients.findOneOrFail({ where })).id).toBe(3);
    expect((await patients.findOneByOrFail(where)).id).toBe(3);
    expect(await patients.findOneBy({ email: 'zq7~nobody@example.org' })).toBeNull();
    const [found, total] = await patients.findAndCount({ where: { ssn: 'zq7~ssn-2' } });
    expect([ids(found), total]).toEqual([[3, 4], 2]);
    const [foundBy, totalBy] = await patients.findAndCountBy({ ssn: 'zq7~ssn-2' });
    expect([ids(foundBy), totalBy]).toEqual([[3, 4], 2]);
  });

  it('finds through the entity manager as well', async () => {
    const { manager } = world.ds;
    expect(ids(await manager.find(Patient, { where: { ssn: 'zq7~ssn-2' } }))).toEqual([3, 4]);
    expect((await manager.findOneBy(Patient, { pet: 'zq7~pet-2', ssn: 'zq7~ssn-1' }))?.id).toBe(2);
    expect(await manager.countBy(Patient, { ssn: In(['zq7~ssn-1', 'zq7~ssn-5']) })).toBe(3);
    expect(await manager.existsBy(Patient, { email: 'ZQ7~p1@example.org' })).toBe(true);
  });

  it('counts and tells existence', async () => {
    expect(await patients.count({ where: { ssn: 'zq7~ssn-1' } })).toBe(2);
    expect(await patients.countBy({ ssn: Not('zq7~ssn-1') })).toBe(7);
    expect(await patients.exists({ where: { pet: 'zq7~pet-1' } })).toBe(true);
    expect(await patients.exists({ where: { pet: 'zq7~pet-9' } })).toBe(false);
    expect(await patients.existsBy({ email: 'zq7~p10@example.org' })).toBe(true);
    expect(await patients.existsBy({ email: 'zq7~p11@example.org' })).toBe(false);
    const legacy = patients as unknown as { exist?: typeof patients.exists };
    if (legacy.exist !== undefined) {
      expect(await legacy.exist({ where: { ssn: 'zq7~ssn-1' } })).toBe(true);
    }
  });

  it('shows nothing of the value in the error of findOneOrFail', async () => {
    const errors = [
      await rejection(patients.findOneByOrFail({ email: 'zq7~nobody@example.org' })),
      await rejection(
        patients.findOneOrFail({
          where: [{ ssn: In(['zq7~x', 'zq7~y']) }, { pet: Not('zq7~z'), id: 99 }],
        }),
      ),
      await rejection(patients.findOneByOrFail({ contact: { city: 'zq7~nowhere' } })),
      await rejection(patients.findOneByOrFail({ clinic: { licence: 'zq7~none' } })),
      await rejection(
        patients.createQueryBuilder('p').where({ email: 'zq7~nobody@example.org' }).getOneOrFail(),
      ),
    ];
    for (const error of errors) {
      expect(error.name).toBe('EntityNotFoundError');
      const shown = `${error.message} ${inspect(error, { depth: 9 })} ${JSON.stringify(error)}`;
      expect(shown.toLowerCase()).not.toContain(CANARY);
    }
  });

  it.each(['sum', 'average', 'minimum', 'maximum'] as const)(
    'refuses %s of an encrypted property',
    async (aggregate) => {
      await expectRefused(world, () => patients[aggregate]('email' as never));
    },
  );

  it('aggregates plain properties of rows that an encrypted property picks', async () => {
    expect(await patients.sum('id', { ssn: 'zq7~ssn-2' })).toBe(7);
    expect(await patients.average('id', { pet: 'zq7~pet-1' })).toBe(4);
    expect(await patients.minimum('id', { ssn: In(['zq7~ssn-2', 'zq7~ssn-3']) })).toBe(3);
    expect(await patients.maximum('id', { email: Not('zq7~p10@example.org') })).toBe(9);
  });

  it('takes encrypted properties in the criteria of update, delete, softDelete and restore', async () => {
    await patients.update({ email: 'ZQ7~p1@example.org' }, { name: 'renamed' });
    await patients.update({ pet: 'zq7~pet-2' }, { name: 'truncated' });
    const names = await patients.find({ select: { id: true, name: true }, order: { id: 'ASC' } });
    expect(names.map(({ name }) => name)).toEqual([
      'renamed',
      'truncated',
      'n3',
      'n4',
      'n5',
      'n6',
      'n7',
      'truncated',
      'n9',
      'n10',
    ]);
    await patients.softDelete({ ssn: 'zq7~ssn-2' });
    expect(await patients.countBy({ ssn: 'zq7~ssn-2' })).toBe(0);
    expect(await patients.count({ where: { ssn: 'zq7~ssn-2' }, withDeleted: true })).toBe(2);
    await patients.restore({ ssn: 'zq7~ssn-2', email: 'zq7~p3@example.org' });
    expect(ids(await patients.findBy({ ssn: 'zq7~ssn-2' }))).toEqual([3]);
    await patients.softDelete({ pet: 'zq7~pet-1' });
    await patients.restore({ pet: 'zq7~pet-1' });
    expect(ids(await patients.findBy({ pet: 'zq7~pet-1' }))).toEqual([1, 4, 7]);

    await world.ds.query('DELETE FROM visit');
    await world.ds.query('DELETE FROM patient_doctors_doctor');
    await patients.delete({ ssn: In(['zq7~ssn-1', 'zq7~ssn-5']) });
    await patients.delete({ pet: 'zq7~pet-1' });
    expect(ids(await patients.find())).toEqual([3, 5, 6, 8, 10]);
  });

  it('moves the index along when a row is updated by criteria on the very same property', async () => {
    await patients.update({ ssn: 'zq7~ssn-1' }, { ssn: 'zq7~moved', pet: 'zq7~pet-moved' });
    expect(await patients.countBy({ ssn: 'zq7~ssn-1' })).toBe(0);
    expect(ids(await patients.findBy({ ssn: 'zq7~moved' }))).toEqual([1, 2]);
    expect(ids(await patients.findBy({ pet: 'zq7~pet-moved' }))).toEqual([1, 2]);
    await patients.update({ pet: 'zq7~pet-moved' }, { pet: null });
    expect(await patients.countBy({ pet: 'zq7~pet-moved' })).toBe(0);
  });

  it('increments and decrements by encrypted criteria, and refuses an encrypted property', async () => {
    const { manager } = world.ds;
    await expectRefusedValue(manager.increment(Patient, { id: 1 }, 'ssn', 1));
    await manager.increment(Patient, { email: 'zq7~p9@example.org' }, 'points', 100);
    await manager.decrement(Patient, { pet: 'zq7~pet-0' }, 'points', 7);
    const points = await patients.find({ select: { points: true }, order: { id: 'ASC' } });
    expect(points.map((patient) => patient.points)).toEqual([0, 0, -7, 0, 0, -7, 0, 0, 93, 0]);
  });

  it('upserts on an encrypted property through its unique index', async () => {
    const row = { id: 50, name: 'upserted', email: 'ZQ7~P1@example.ORG', contact: {} };
    await patients.upsert({ ...row, id: 1 }, ['email']);
    const found = await patients.findOneByOrFail({ email: 'zq7~p1@example.org' });
    expect(found).toMatchObject({ id: 1, name: 'upserted', email: 'ZQ7~P1@example.ORG' });
    await patients.upsert(
      { ...row, email: 'zq7~new@example.org' },
      { conflictPaths: { email: true }, skipUpdateIfNoValuesChanged: database.type === 'postgres' },
    );
    expect(await patients.count()).toBe(11);
    expect((await patients.findOneByOrFail({ email: 'zq7~new@example.org' })).id).toBe(50);
  });

  it('refuses to upsert on an encrypted property without a unique index', async () => {
    await expectRefused(
      world,
      () => patients.upsert({ id: 1, name: 'x', email: 'zq7~@x.org', ssn: 'zq7~ssn-1' }, ['ssn']),
      { property: 'ssn' },
    );
    await expectRefused(
      world,
      () => patients.upsert({ id: 1, name: 'x', email: 'zq7~@x.org', note: 'zq7~n' }, ['note']),
      { property: 'note' },
    );
  });

  it('preloads by id', async () => {
    const loaded = await patients.preload({ id: 2, ssn: 'zq7~preloaded' });
    expect(loaded).toMatchObject({ id: 2, email: 'Zq7~P2@Example.org', ssn: 'zq7~preloaded' });
    await patients.save(loaded as Patient);
    expect(ids(await patients.findBy({ ssn: 'zq7~preloaded' }))).toEqual([2]);
  });

  it('reports a violated unique index without the value', async () => {
    const error = await rejection(
      patients.insert({ id: 77, name: 'twin', email: 'ZQ7~p1@example.org', contact: {} }),
    );
    expect(error.name).toBe('QueryFailedError');
    const shown = `${error.message} ${inspect(error, { depth: 9 })} ${JSON.stringify(error)}`;
    expect(shown.toLowerCase()).not.toContain(CANARY);
    expect(shown).toMatch(/unique|duplicate entry/i);
  });

  async function expectRefusedValue(work: Promise<unknown>): Promise<void> {
    world.log.mark();
    const error = await rejection(work);
    expect(error).toMatchObject({
      code: 'ERR_UNSUPPORTED_VALUE',
      entity: 'Patient',
      property: 'ssn',
    });
    expect(world.log.sinceMark()).toEqual([]);
  }
});
