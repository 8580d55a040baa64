import { Not } from 'typeorm';
import type { ObjectLiteral, QueryBuilder, SelectQueryBuilder } from 'typeorm';
import { describeDiagonal, typeormMajor } from '../support/databases';
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

type Builder = QueryBuilder<ObjectLiteral>;

describeDiagonal('A query builder that becomes one of another kind', (database) => {
  let world: World;

  beforeEach(async () => {
    world = await openWorld(database);
  });

  afterEach(async () => {
    const leaked = world.log.withPlaintext();
    await world.close();
    expect(leaked).toEqual([]);
  });

  const any = (): SelectQueryBuilder<ObjectLiteral> => world.ds.createQueryBuilder();

  /** One of each kind, as code has it in its hands when it needs another statement. */
  const KINDS: readonly [string, () => Builder][] = [
    ['select', () => any().select('p').from(Patient, 'p')],
    ['insert', () => any().insert().into(Patient)],
    ['update', () => any().update(Patient).set({ name: 'x' })],
    ['delete', () => any().delete().from(Patient)],
    ['softDelete', () => any().softDelete().from(Patient)],
    ['restore', () => any().restore().from(Patient)],
    ['relation', () => any().relation(Patient, 'clinic')],
  ];

  /** A new statement from it, as sub-queries begin. */
  const begun = (kind: () => Builder): Builder => kind().createQueryBuilder();

  it.each(KINDS)('selects by blind index from one for %s', async (_kind, kind) => {
    const found = await begun(kind)
      .select('v')
      .from(Visit, 'v')
      .where({ reason: Not('zq7~reason-1') })
      .getMany();
    expect(ids(found)).toHaveLength(15);
    await expectRefused(
      world,
      () =>
        begun(kind)
          .select('v')
          .from(Visit, 'v')
          .where('v.reason = :r', { r: 'zq7~reason-1' })
          .getMany(),
      { entity: 'Visit', property: 'reason' },
    );
  });

  it.each(KINDS)('writes ciphertext and tokens from one for %s', async (_kind, kind) => {
    await begun(kind)
      .insert()
      .into(Clinic)
      .values({ id: 9, title: 't', licence: 'zq7~9' })
      .execute();
    await begun(kind)
      .update(Clinic)
      .set({ licence: 'zq7~10' })
      .where({ licence: 'zq7~9' })
      .execute();
    const clinics = world.ds.getRepository(Clinic);
    expect(await clinics.findOneBy({ licence: 'zq7~10' })).toMatchObject({ id: 9 });
    await begun(kind).delete().from(Clinic).where({ licence: 'zq7~10' }).execute();
    expect(await clinics.countBy({ id: 9 })).toBe(0);
  });

  it.each(KINDS)('takes out and puts back by blind index from one for %s', async (_kind, kind) => {
    const patients = world.ds.getRepository(Patient);
    const where = { email: 'zq7~p3@example.org' };
    await begun(kind).softDelete().from(Patient).where(where).execute();
    expect(await patients.countBy({ id: 3 })).toBe(0);
    await begun(kind).restore().from(Patient).where(where).execute();
    expect(await patients.countBy({ id: 3 })).toBe(1);
  });

  it('looks up in sub-queries of delete and update', async () => {
    const mailboxes = world.ds.getRepository(Mailbox);
    const visited = (outer: Builder): string => {
      const visits = outer
        .createQueryBuilder()
        .select('v.id')
        .from(Visit, 'v')
        .where({ reason: 'zq7~reason-1' });
      outer.setParameters(visits.getParameters());
      return `owner IN (${visits.getQuery()})`;
    };
    // The visits of that reason are 2, 6, 10, …
    const update = any().update(Mailbox).set({ email: 'visited' });
    await update.where(visited(update)).execute();
    expect(await mailboxes.findBy({ email: 'visited' })).toMatchObject([{ owner: 2 }]);

    const deletion = any().delete().from(Mailbox);
    await deletion.where(visited(deletion)).execute();
    expect(await mailboxes.find()).toMatchObject([{ owner: 1 }]);
  });

  if (typeormMajor === 1) {
    it('looks up in the query of INSERT … SELECT', async () => {
      const insert = any().insert().into(Mailbox, ['email', 'owner']) as ObjectLiteral;
      await (insert['valuesFromSelect'] as ValuesFromSelect)((visits) =>
        visits
          .select('v.id', 'email')
          .addSelect('7', 'owner')
          .from(Visit, 'v')
          .where({ reason: Not('zq7~reason-1') }),
      ).execute();
      expect(await world.ds.getRepository(Mailbox).countBy({ owner: 7 })).toBe(15);
    });
  }

  it('sets and adds relations of encrypted entities', async () => {
    await any().relation(Patient, 'clinic').of(10).set(2);
    await any().relation(Patient, 'visits').of(10).add(1);
    const patient = await world.ds.getRepository(Patient).findOneOrFail({
      where: { id: 10 },
      relations: { clinic: true, visits: true },
    });
    expect(patient.clinic).toMatchObject({ id: 2, licence: 'zq7~lic-2' });
    expect(ids(patient.visits)).toEqual([1, 10, 20]);
  });
});

type ValuesFromSelect = (
  query: (select: SelectQueryBuilder<ObjectLiteral>) => SelectQueryBuilder<ObjectLiteral>,
) => { execute(): Promise<unknown> };
