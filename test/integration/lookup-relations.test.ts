import { In, IsNull, Not } from 'typeorm';
import type { Repository } from 'typeorm';
import { describeEachDatabase } from '../support/databases';
import { Clinic, ids, openWorld, Patient, Visit } from '../support/lookup-world';
import type { World } from '../support/lookup-world';
import { sqlOf } from '../support/sql-of';

describeEachDatabase('lookups through relations', (database) => {
  let world: World;
  let patients: Repository<Patient>;
  let visits: Repository<Visit>;

  beforeAll(async () => {
    world = await openWorld(database);
    patients = world.ds.getRepository(Patient);
    visits = world.ds.getRepository(Visit);
  });

  afterAll(async () => {
    const leaked = world.log.withPlaintext();
    await world.close();
    expect(leaked).toEqual([]);
  });

  it('finds by an encrypted property of a relation, one and two steps away', async () => {
    // clinic of patient n is n % 3 + 1; patient 10 has none
    expect(ids(await patients.findBy({ clinic: { licence: 'zq7~lic-1' } }))).toEqual([3, 6, 9]);
    expect(ids(await patients.findBy({ clinic: { licence: Not('zq7~lic-1') } }))).toEqual([
      1, 2, 4, 5, 7, 8,
    ]);
    expect(ids(await visits.findBy({ patient: { email: 'zq7~P2@example.org' } }))).toEqual([2, 12]);
    expect(
      ids(
        await visits.findBy({
          patient: { clinic: { licence: In(['zq7~lic-1']) }, ssn: 'zq7~ssn-2' },
        }),
      ),
    ).toEqual([3, 13]);
    expect(
      ids(await visits.findBy({ patient: { contact: { city: 'ZQ7~town-1' }, pet: 'zq7~pet-1' } })),
    ).toEqual([1, 7, 11, 17]);
    expect(
      ids(
        await world.ds.getRepository(Clinic).findBy({
          patients: { visits: { reason: 'zq7~reason-0', patient: { ssn: 'zq7~ssn-1' } } },
        }),
      ),
    ).toEqual([2]);
  });

  it('finds through truncated indexes of relations, and of both sides at once', async () => {
    expect(ids(await visits.findBy({ patient: { pet: 'zq7~pet-2' } }))).toEqual([2, 8, 12, 18]);
    expect(
      ids(await visits.findBy({ patient: { pet: Not('zq7~pet-2') }, ward: 'zq7~ward-1' })),
    ).toEqual([14, 17]);
    expect(ids(await patients.findBy({ visits: { ward: 'zq7~ward-1' } }))).toEqual([
      2, 4, 5, 7, 8, 10,
    ]);
    expect(await visits.countBy([{ patient: { pet: 'zq7~pet-1' } }, { ward: IsNull() }])).toBe(8);
  });

  it('finds through many-to-many relations', async () => {
    expect(ids(await patients.findBy({ doctors: { badge: 'zq7~badge-1' } }))).toEqual([
      2, 3, 6, 8, 9,
    ]);
    expect(
      ids(
        await patients.find({
          where: { doctors: { badge: 'zq7~badge-1' }, ssn: Not('zq7~ssn-1') },
          relations: { doctors: true },
        }),
      ),
    ).toEqual([3, 6, 8, 9]);
  });

  it('decrypts what relations bring along', async () => {
    const found = await patients.findOneOrFail({
      where: { email: 'zq7~p1@example.org' },
      relations: { clinic: true, visits: true, doctors: true },
      order: { visits: { id: 'ASC' } },
    });
    expect(found.clinic?.licence).toBe('zq7~lic-2');
    expect(found.visits.map(({ reason, ward }) => [reason, ward])).toEqual([
      ['zq7~reason-0', null],
      ['zq7~reason-2', null],
    ]);
    expect(found.doctors).toEqual([{ id: 2, badge: 'zq7~badge-2' }]);
  });

  it('pages with and without joins', async () => {
    const relations = { visits: true, clinic: true };
    for (const where of [
      { ssn: Not('zq7~ssn-1') },
      { pet: Not('zq7~nobody') },
      [{ pet: 'zq7~pet-1' }, { contact: { city: 'zq7~town-0' } }],
      { clinic: { licence: Not('zq7~none') }, pet: In(['zq7~pet-1', 'zq7~pet-0']) },
      { visits: { reason: In(['zq7~reason-0', 'zq7~reason-1']) } },
      { visits: { ward: 'zq7~ward-1' } },
    ]) {
      const all = ids(await patients.find({ where }));
      expect(all.length).toBeGreaterThan(3);
      for (const options of [
        {},
        { relations },
        { relations, relationLoadStrategy: 'query' as const },
      ]) {
        const seen: number[] = [];
        for (let skip = 0; skip < all.length; skip += 2) {
          const [page, total] = await patients.findAndCount({
            where,
            ...options,
            order: { id: 'ASC' },
            skip,
            take: 2,
          });
          expect(total).toBe(all.length);
          seen.push(...page.map(({ id }) => id));
        }
        expect(seen).toEqual(all);
      }
      const [last] = await patients.find({ where, relations, order: { id: 'DESC' }, take: 1 });
      expect(last?.id).toBe(all.at(-1));
    }
  });

  it('orders by plain properties of relations while it looks up by encrypted ones', async () => {
    const found = await patients.find({
      where: { ssn: In(['zq7~ssn-1', 'zq7~ssn-2']) },
      relations: { clinic: true },
      order: { clinic: { title: 'DESC' }, id: 'ASC' },
      take: 3,
    });
    expect(found.map(({ id }) => id)).toEqual([2, 1, 4]);
  });

  it("loads relations by the strategy 'query'", async () => {
    const found = await visits.find({
      where: { patient: { ssn: 'zq7~ssn-1' }, reason: 'zq7~reason-0' },
      relations: { patient: { clinic: true } },
      relationLoadStrategy: 'query',
    });
    expect(found.map(({ id, patient }) => [id, patient.email, patient.clinic?.licence])).toEqual([
      [1, 'Zq7~P1@Example.org', 'zq7~lic-2'],
    ]);
  });

  it('selects partially, with a count', async () => {
    const [found, total] = await patients.findAndCount({
      select: { id: true, ssn: true, clinic: { id: true, licence: true } },
      where: { ssn: 'zq7~ssn-2' },
      relations: { clinic: true },
      order: { id: 'ASC' },
      take: 1,
    });
    expect(total).toBe(2);
    expect(found).toEqual([{ id: 3, ssn: 'zq7~ssn-2', clinic: { id: 1, licence: 'zq7~lic-1' } }]);
    const [idsOnly] = await patients.findAndCount({
      select: { id: true },
      where: { pet: 'zq7~pet-2' },
      order: { id: 'ASC' },
    });
    expect(idsOnly).toEqual([{ id: 2 }, { id: 8 }]);
  });

  it('takes comment, cache, loadRelationIds and withDeleted', async () => {
    const where = { email: 'zq7~p4@example.org' };
    expect(ids(await patients.find({ where, comment: 'a find by email' }))).toEqual([4]);
    expect(ids(await patients.find({ where, withDeleted: true }))).toEqual([4]);
    const [loaded] = await patients.find({ where, loadRelationIds: true });
    expect(loaded).toMatchObject({ id: 4, clinic: 2 });
    expect(
      ids(await patients.find({ where: { pet: 'zq7~pet-1' }, comment: 'a truncated one' })),
    ).toEqual([1, 4, 7]);
  });

  it('takes locks', async () => {
    if (database.dialect === 'sqlite') return;
    await world.ds.transaction(async (manager) => {
      const lock = { mode: 'pessimistic_write' } as const;
      expect(ids(await manager.find(Patient, { where: { ssn: 'zq7~ssn-1' }, lock }))).toEqual([
        1, 2,
      ]);
      expect(ids(await manager.find(Patient, { where: { pet: 'zq7~pet-1' }, lock }))).toEqual([
        1, 4, 7,
      ]);
    });
  });

  it('sees rows of its own transaction through a truncated index', async () => {
    const undone = new Error('roll back');
    await expect(
      world.ds.transaction(async (manager) => {
        await manager.insert(Patient, {
          id: 90,
          name: 'new',
          email: 'zq7~p90@x.org',
          pet: 'zq7~pet-1',
          contact: {},
        });
        expect(ids(await manager.findBy(Patient, { pet: 'zq7~pet-1' }))).toEqual([1, 4, 7, 90]);
        await manager.update(Patient, { pet: 'zq7~pet-1', ssn: IsNull() }, { name: 'changed' });
        expect((await manager.findOneByOrFail(Patient, { id: 90 })).name).toBe('changed');
        throw undone;
      }),
    ).rejects.toBe(undone);
    expect(ids(await patients.findBy({ pet: 'zq7~pet-1' }))).toEqual([1, 4, 7]);
  });
});

describeEachDatabase('lookups with a query cache', (database) => {
  it('never answer with what was found for another value of the same truncated token', async () => {
    const world = await openWorld(database, { dataSource: { cache: true } });
    try {
      const patients = world.ds.getRepository(Patient);
      const named = async (pet: string): Promise<number[]> =>
        ids(await patients.find({ where: { pet }, cache: 60_000 }));
      // Of 17 values, two at least have the same token of four bits.
      const pets = Array.from({ length: 17 }, (_, i) => `zq7~cached-${String(i)}`);
      for (const pet of pets) {
        await patients.update({ id: 1 }, { pet });
        expect(await named(pet)).toEqual([1]);
      }
      for (const pet of pets.slice(0, -1)) expect(await named(pet)).toEqual([]);
    } finally {
      await world.close();
    }
  });

  it('keeps tokens and ciphertext in the cache, and answers from it', async () => {
    const world = await openWorld(database, { dataSource: { cache: true } });
    try {
      const patients = world.ds.getRepository(Patient);
      for (const where of [{ ssn: 'zq7~ssn-1' }, { ssn: Not('zq7~ssn-1') }, { pet: 'zq7~pet-1' }]) {
        const first = ids(await patients.find({ where, cache: 60_000 }));
        expect(ids(await patients.find({ where, cache: 60_000 }))).toEqual(first);
        expect(first).toEqual(ids(await patients.find({ where })));
      }
      expect(
        ids(
          await patients.find({
            where: { ssn: 'zq7~ssn-2' },
            cache: { id: 'named', milliseconds: 60_000 },
          }),
        ),
      ).toEqual([3, 4]);
      const rows = JSON.stringify(
        await world.ds.query(sqlOf(database, 'SELECT * FROM "query-result-cache"')),
      );
      expect(rows.length).toBeGreaterThan(100);
      expect(rows.toLowerCase()).not.toContain('zq7~');
      expect(world.log.withPlaintext()).toEqual([]);
    } finally {
      await world.close();
    }
  });
});
