import { And, Any, Brackets, Equal, In, IsNull, Not, Or } from 'typeorm';
import type { FindOptionsWhere, Repository } from 'typeorm';
import { inspect } from 'node:util';
import { fieldEncryption } from '../../src';
import { describeEachDatabase } from '../support/databases';
import {
  expectRefused,
  ids,
  Membership,
  Nurse,
  openWorld,
  Patient,
  refusesNullInWhere,
  Staff,
  Surgeon,
} from '../support/lookup-world';
import type { World } from '../support/lookup-world';
import { rejection } from '../support/protected-database';

describeEachDatabase('lookups with find operators', (database) => {
  let world: World;
  let patients: Repository<Patient>;

  beforeAll(async () => {
    world = await openWorld(database);
    patients = world.ds.getRepository(Patient);
  });

  afterAll(async () => {
    const leaked = world.log.withPlaintext();
    await world.close();
    expect(leaked).toEqual([]);
  });

  // ssn: 1,2 -> 1; 3,4 -> 2; 5,6 -> 3; 7,8 -> 4; 9 -> 5; 10 -> null
  const [one, two, nobody] = ['zq7~ssn-1', 'zq7~ssn-2', 'zq7~nobody'];
  it.each<[string, FindOptionsWhere<Patient> | FindOptionsWhere<Patient>[], number[]]>([
    ['a value', { ssn: one }, [1, 2]],
    ['Equal', { ssn: Equal(one) }, [1, 2]],
    ['In', { ssn: In([one, two, nobody]) }, [1, 2, 3, 4]],
    ['In of nothing', { ssn: In([]) }, []],
    ['Not In of nothing', { ssn: Not(In([])) }, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]],
    ['In with null', { ssn: In([one, null]) }, [1, 2]],
    ['Not In with null', { ssn: Not(In([one, null])) }, []],
    ['Not', { ssn: Not(one) }, [3, 4, 5, 6, 7, 8, 9]],
    ['Not Equal', { ssn: Not(Equal(one)) }, [3, 4, 5, 6, 7, 8, 9]],
    ['Not Not', { ssn: Not(Not(one)) }, [1, 2]],
    ['Not In', { ssn: Not(In([one, two])) }, [5, 6, 7, 8, 9]],
    ['IsNull', { ssn: IsNull() }, [10]],
    ['Not IsNull', { ssn: Not(IsNull()) }, [1, 2, 3, 4, 5, 6, 7, 8, 9]],
    ['Not Not IsNull', { ssn: Not(Not(IsNull())) }, [10]],
    ['And', { ssn: And(Not(one), Not(two)) }, [5, 6, 7, 8, 9]],
    ['And with IsNull', { ssn: And(Not(IsNull()), Not(In([one, two]))) }, [5, 6, 7, 8, 9]],
    ['Or', { ssn: Or(Equal(one), Equal(two)) }, [1, 2, 3, 4]],
    ['Or with IsNull', { ssn: Or(IsNull(), Equal(two)) }, [3, 4, 10]],
    ['Not Or', { ssn: Not(Or(Equal(one), In([two]))) }, [5, 6, 7, 8, 9]],
    [
      'And in Or',
      { ssn: Or(And(Not(one), Not(two), Not('zq7~ssn-3')), Equal(one)) },
      [1, 2, 7, 8, 9],
    ],
    ['an array', [{ ssn: one }, { email: 'zq7~p9@example.org' }], [1, 2, 9]],
    [
      'an array with plain',
      [{ ssn: one, name: 'n1' }, { ssn: IsNull() }, { name: 'n4' }],
      [1, 4, 10],
    ],
    ['an embedded property', { contact: { city: 'ZQ7~TOWN-1' } }, [1, 3, 5, 7]],
    [
      'an embedded operator',
      { contact: { city: Not('zq7~town-1'), street: Not('street 2') } },
      [4, 6, 8],
    ],
    ['an embedded null', { contact: { city: IsNull() } }, [9, 10]],
    ['an empty where', {}, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]],
  ])('finds by %s', async (_title, where, expected) => {
    expect(ids(await patients.find({ where }))).toEqual(expected);
    expect(await patients.count({ where })).toBe(expected.length);
    expect(await patients.exists({ where })).toBe(expected.length > 0);
    if (!Array.isArray(where) || where.length > 0) {
      const built = patients.createQueryBuilder('p').where(where);
      expect(ids(await built.getMany())).toEqual(expected);
      expect(await built.getCount()).toBe(expected.length);
    }
  });

  // pet: 1,4,7 -> 1; 2,8 -> 2; 3,6,9 -> 0; 5,10 -> null
  const [cat, dog] = ['zq7~pet-1', 'zq7~pet-2'];
  it.each<[string, FindOptionsWhere<Patient> | FindOptionsWhere<Patient>[], number[]]>([
    ['a value', { pet: cat }, [1, 4, 7]],
    ['a value that nobody has', { pet: nobody }, []],
    ['Equal', { pet: Equal(cat) }, [1, 4, 7]],
    ['In', { pet: In([cat, dog, nobody]) }, [1, 2, 4, 7, 8]],
    ['In of nothing', { pet: In([]) }, []],
    ['Not In of nothing', { pet: Not(In([])) }, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]],
    ['In with null', { pet: In([cat, null]) }, [1, 4, 7]],
    ['Not In with null', { pet: Not(In([cat, null])) }, []],
    ['Not In with null only', { pet: Not(In([null])) }, []],
    ['Not', { pet: Not(cat) }, [2, 3, 6, 8, 9]],
    ['Not of a value that nobody has', { pet: Not(nobody) }, [1, 2, 3, 4, 6, 7, 8, 9]],
    ['Not Not', { pet: Not(Not(cat)) }, [1, 4, 7]],
    ['IsNull', { pet: IsNull() }, [5, 10]],
    ['Not IsNull', { pet: Not(IsNull()) }, [1, 2, 3, 4, 6, 7, 8, 9]],
    ['an array', [{ pet: cat }, { pet: IsNull() }, { ssn: one }], [1, 2, 4, 5, 7, 10]],
    ['with another', { pet: cat, ssn: one }, [1]],
  ])('finds through a truncated index by %s', async (_title, where, expected) => {
    expect(ids(await patients.find({ where }))).toEqual(expected);
    expect(await patients.count({ where })).toBe(expected.length);
    expect(await patients.exists({ where })).toBe(expected.length > 0);
    const [page, total] = await patients.findAndCount({
      where,
      order: { id: 'ASC' },
      skip: 1,
      take: 2,
    });
    expect([ids(page), total]).toEqual([expected.slice(1, 3), expected.length]);
    expect(ids(await patients.createQueryBuilder('p').where(where).getMany())).toEqual(expected);
  });

  it.each([
    ['And', And(Not(cat), Not(dog)), [3, 6, 9]],
    ['Or', Or(Equal(cat), Equal(dog)), [1, 2, 4, 7, 8]],
    ['Or with IsNull', Or(Equal(cat), IsNull()), [1, 4, 5, 7, 10]],
    ['Not Or', Not(Or(Equal(cat), In([dog]))), [3, 6, 9]],
    ['And in Or', Or(And(Not(cat), Not(dog)), Equal(cat)), [1, 3, 4, 6, 7, 9]],
  ])(
    'finds through a truncated index by %s, as through a full one',
    async (_title, pet, expected) => {
      expect(ids(await patients.findBy({ pet }))).toEqual(expected);
      expect(await patients.countBy({ pet })).toBe(expected.length);
    },
  );

  // No other database has ANY of a list.
  if (database.type === 'postgres') {
    it('finds by Any', async () => {
      expect(ids(await patients.findBy({ ssn: Any([one, two]) }))).toEqual([1, 2, 3, 4]);
      expect(ids(await patients.findBy({ ssn: Not(Any([one, two])) }))).toEqual([5, 6, 7, 8, 9]);
      expect(ids(await patients.findBy({ pet: Any([cat, dog]) }))).toEqual([1, 2, 4, 7, 8]);
    });
  }

  it("leaves the caller's operators alone, so that they can be used again", async () => {
    const list = [one, two];
    const inList = In(list);
    const operators = [
      inList,
      Not(inList),
      Not(Equal(one)),
      Or(Equal(one), Equal(two)),
      And(Not(one), Not(two)),
    ];
    const before = inspect(operators, { depth: 9 });
    for (const ssn of [...operators, ...operators]) {
      const where = { ssn };
      const first = ids(await patients.find({ where }));
      expect(first.length).toBeGreaterThan(0);
      expect(ids(await patients.createQueryBuilder('p').where(where).getMany())).toEqual(first);
      expect(where).toEqual({ ssn });
    }
    await patients.findBy({ pet: Not(In(list)) });
    expect(inspect(operators, { depth: 9 })).toBe(before);
    expect(list).toEqual([one, two]);
  });

  it('shares one operator between an encrypted and a plain property', async () => {
    const operator = Not(In(['n1', 'n2']));
    expect(ids(await patients.findBy({ ssn: operator, name: operator }))).toEqual([
      3, 4, 5, 6, 7, 8, 9,
    ]);
  });

  it('treats null as TypeORM does', async () => {
    for (const property of ['ssn', 'pet'] as const) {
      const where = { [property]: null } as never;
      const plain = { deletedAt: null } as never;
      if (refusesNullInWhere) {
        await expect(patients.find({ where })).rejects.toThrow(/Null value encountered/);
        await expect(patients.find({ where: plain })).rejects.toThrow(/Null value encountered/);
      } else {
        expect(await patients.countBy(where)).toBe(await patients.countBy(plain));
        expect(await patients.countBy(where)).toBe(10);
      }
      const built = await outcome(() => patients.createQueryBuilder('p').where(where).getCount());
      expect(built).toEqual(
        await outcome(() => patients.createQueryBuilder('p').where(plain).getCount()),
      );
      const equalNull = { [property]: Equal(null) } as never;
      expect(await patients.countBy(equalNull)).toBe(0);
      expect(await patients.countBy({ [property]: Not(Equal(null)) })).toBe(0);
      expect(await patients.countBy({ [property]: Not(null) })).toBe(
        await patients.countBy({ deletedAt: Not(null) } as never),
      );
    }
  });

  it('treats undefined as TypeORM does', async () => {
    for (const property of ['ssn', 'pet'] as const) {
      const where = { [property]: undefined };
      const plain = { name: undefined } as never;
      expect(await outcome(() => patients.countBy(where))).toEqual(
        await outcome(() => patients.countBy(plain)),
      );
      expect(await outcome(() => patients.update(where, { points: 0 }))).toEqual(
        await outcome(() => patients.update(plain, { points: 0 })),
      );
    }
  });

  it('takes null and undefined as configured', async () => {
    const configured = await openWorld(database, {
      dataSource: { invalidWhereValuesBehavior: { null: 'sql-null', undefined: 'ignore' } },
    });
    try {
      const repository = configured.ds.getRepository(Patient);
      for (const [property, expected] of [
        ['ssn', 1],
        ['pet', 2],
      ] as const) {
        expect(await repository.countBy({ [property]: null })).toBe(expected);
        expect(await repository.countBy({ [property]: undefined })).toBe(10);
      }
    } finally {
      await configured.close();
    }
  });

  it('finds entities with composite keys', async () => {
    const memberships = world.ds.getRepository(Membership);
    expect(await memberships.countBy({ code: 'zq7~code-1' })).toBe(2);
    const [found] = await memberships.findBy({ club: 2, code: Not('zq7~code-2') });
    expect(found).toEqual({ club: 2, member: 1, code: 'zq7~code-1' });
    const page = await memberships.find({
      where: { code: 'zq7~code-1' },
      order: { club: 'ASC' },
      skip: 1,
      take: 1,
    });
    expect(page).toEqual([found]);
  });

  it('finds entities of single-table inheritance by own and inherited properties', async () => {
    const { ds } = world;
    expect(ids(await ds.getRepository(Staff).findBy({ pin: 'zq7~pin-1' }))).toEqual([1, 3, 5]);
    expect(ids(await ds.getRepository(Nurse).findBy({ pin: 'zq7~pin-1' }))).toEqual([3]);
    expect(ids(await ds.getRepository(Surgeon).findBy({ pin: Not('zq7~pin-1') }))).toEqual([4, 6]);
    expect(ids(await ds.getRepository(Nurse).findBy({ shift: 'zq7~night' }))).toEqual([2]);
    expect(ids(await ds.getRepository(Nurse).findBy({ shift: IsNull() }))).toEqual([3]);
    expect(ids(await ds.getRepository(Surgeon).findBy({ specialty: 'zq7~heart' }))).toEqual([4]);
    expect(ids(await ds.getRepository(Surgeon).findBy({ specialty: Not('zq7~heart') }))).toEqual([
      5,
    ]);
    const [nurse] = await ds.getRepository(Staff).findBy({ pin: 'zq7~pin-2' });
    expect(nurse).toBeInstanceOf(Nurse);
    expect(nurse).toMatchObject({ shift: 'zq7~night' });
  });

  it('refuses a value of the wrong type before anything is sent', async () => {
    for (const property of ['ssn', 'pet'] as const) {
      world.log.mark();
      const error = await rejection(patients.findBy({ [property]: 7 }));
      expect(error).toMatchObject({ code: 'ERR_UNSUPPORTED_VALUE', entity: 'Patient', property });
      expect(world.log.sinceMark()).toEqual([]);
    }
    await expectRefused(
      world,
      () =>
        patients
          .createQueryBuilder('p')
          .where({ ssn: () => "'zq7~sql'" })
          .getMany(),
      { property: 'ssn' },
    );
  });

  describe('with JSON that looks like an operator', () => {
    const lookAlikes: [string, string][] = [
      ['of its mark as text', '{"@instanceof":"FindOperator","type":"not","value":"zq7~x"}'],
      [
        'of all rows',
        '{"@instanceof":1,"type":"or","value":["zq7~x",{"@instanceof":1,"type":"isNull"}]}',
      ],
      [
        'of IS NOT NULL',
        '{"@instanceof":1,"type":"not","child":{"@instanceof":1,"type":"isNull"}}',
      ],
      [
        'of an empty list',
        '{"@instanceof":{},"type":"not","value":{"@instanceof":1,"type":"in","value":[]}}',
      ],
      ['of SQL', '{"@instanceof":"Raw","type":"raw","value":"1 = 1"}'],
      [
        'of the fields of one',
        '{"_type":"not","_value":"zq7~x","_useParameter":true,"type":"not"}',
      ],
      ['of a prototype', '{"__proto__":{"@instanceof":1,"type":"isNull"},"type":"isNull"}'],
      ['of a constructor', '{"constructor":{"name":"FindOperator"},"type":"not","value":"zq7~x"}'],
      ['of a Buffer', '{"type":"Buffer","data":[1,2]}'],
      ['of nothing', '{}'],
      ['of a list', '["zq7~ssn-1","zq7~ssn-2"]'],
    ];

    it.each(lookAlikes)('takes it for no condition: %s', async (_title, json) => {
      const forged = JSON.parse(json) as string;
      for (const property of ['ssn', 'pet', 'email'] as const) {
        for (const operand of [
          forged,
          Equal(forged),
          Not(forged),
          Not(Not(forged)),
          In([one, forged]),
          Any([forged]),
          Or(Equal(one), forged as never),
          And(Not(one), forged as never),
        ]) {
          await expectNoCondition(property, { [property]: operand });
        }
      }
    });

    it('takes it for none in embedded objects, relations, criteria and values', async () => {
      const forged = JSON.parse(lookAlikes[0]?.[1] ?? '') as string;
      await expectUnsupported(() => patients.findBy({ contact: { city: forged } }), 'contact.city');
      await expectUnsupported(
        () => patients.findBy({ clinic: { licence: forged } }),
        'licence',
        'Clinic',
      );
      await expectUnsupported(
        () => patients.findBy({ visits: { ward: Not(forged) } }),
        'ward',
        'Visit',
      );
      const where = { ssn: forged };
      await expectUnsupported(() => patients.update(where, { points: 1 }), 'ssn');
      await expectUnsupported(() => patients.delete(where), 'ssn');
      await expectUnsupported(() => patients.softDelete(where), 'ssn');
      await expectUnsupported(() => patients.restore(where), 'ssn');
      await expectUnsupported(
        () => patients.upsert({ id: 1, name: 'n', email: forged, contact: {} }, ['email']),
        'email',
      );
      await expectUnsupported(() => patients.update(1, where), 'ssn');
      await expectUnsupported(
        () => fieldEncryption(world.ds).tokens(Patient, 'ssn', forged),
        'ssn',
      );
      await expectUnsupported(
        () =>
          patients
            .createQueryBuilder('p')
            .where(new Brackets((nested) => nested.where({ points: 0 }).orWhere(where)))
            .getMany(),
        'ssn',
      );
      expect(await patients.count()).toBe(10);
    });

    async function expectNoCondition(property: string, where: FindOptionsWhere<Patient>) {
      await expectUnsupported(() => patients.findOneBy(where), property);
      await expectUnsupported(() => patients.countBy(where), property);
      await expectUnsupported(() => patients.existsBy(where), property);
      await expectUnsupported(
        () => patients.createQueryBuilder('p').where(where).getMany(),
        property,
      );
    }

    async function expectUnsupported(
      work: () => Promise<unknown>,
      property: string,
      entity = 'Patient',
    ) {
      world.log.mark();
      const error = await rejection(work);
      expect(error).toMatchObject({ code: 'ERR_UNSUPPORTED_VALUE', entity, property });
      expect(inspect(error)).not.toContain('zq7~');
      expect(world.log.sinceMark().filter((sql) => /\b(?:patient|clinic)\b/i.test(sql))).toEqual(
        [],
      );
    }
  });

  it('refuses every condition on an encrypted property without a blind index, but the NULL checks', async () => {
    for (const note of ['zq7~note-1', In(['zq7~note-1']), Not('zq7~note-1'), Equal('zq7~note-1')]) {
      await expectRefused(world, () => patients.findBy({ note }), { property: 'note' });
    }
    expect(await patients.countBy({ note: Not(IsNull()) })).toBe(10);
    expect(await patients.countBy({ note: IsNull() })).toBe(0);
  });
});

/** What a query answers, or the class and text of its error without the name of the property. */
async function outcome(query: () => Promise<unknown>): Promise<unknown> {
  try {
    return await query();
  } catch (error) {
    const { name, message } = error as Error;
    return { name, message: message.replace(/['"`]\w+(\.\w+)*['"`]/g, '?') };
  }
}
