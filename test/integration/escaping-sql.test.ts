import type { SelectQueryBuilder } from 'typeorm';
import { describeDiagonal, typeormMajor } from '../support/databases';
import {
  Clinic,
  expectRefused,
  Mailbox,
  Nurse,
  openWorld,
  Patient,
  Visit,
} from '../support/lookup-world';
import type { World } from '../support/lookup-world';
import { qualified, quoted, sqlOf } from '../support/sql-of';

const v = { v: 'zq7~never-sent' };

describeDiagonal('SQL that reads an encrypted table by itself', (database) => {
  let world: World;

  beforeAll(async () => {
    world = await openWorld(database);
  });

  afterAll(async () => {
    const leaked = world.log.withPlaintext();
    await world.close();
    expect(leaked).toEqual([]);
  });

  const boxes = (): SelectQueryBuilder<Mailbox> => world.ds.createQueryBuilder(Mailbox, 'm');
  const patients = (): SelectQueryBuilder<Patient> => world.ds.createQueryBuilder(Patient, 'p');
  const any = () => world.ds.createQueryBuilder();

  it.each([
    'm.email IN (SELECT p.email FROM patient p)',
    'm.email IN (SELECT email FROM patient)',
    'm.email = (SELECT x.email AS anything FROM "patient" AS "x" WHERE x.id = 1)',
    'm.email IN (SELECT p."email" FROM visit v, patient p)',
    'm.email IN (SELECT p.email FROM visit v JOIN patient p ON p.id = v.id)',
    'm.email IN (SELECT p.email FROM (visit v JOIN patient p ON p.id = v.id))',
    'm.email IN (SELECT x.email FROM (visit v JOIN patient p ON p.id = v.id) x)',
    'm.email IN ((SELECT p.email FROM patient p))',
    'm.email IN (SELECT name FROM mailbox UNION SELECT email FROM patient)',
    'm.email IN (SELECT d.mail FROM (SELECT email AS mail FROM patient) d)',
    'm.email IN (SELECT d.email FROM (SELECT * FROM patient) AS d)',
    'm.email IN (SELECT email FROM (SELECT p.* FROM patient p) d)',
    'm.email IN (SELECT mail FROM (SELECT * FROM (SELECT email AS mail FROM patient) d) e)',
    'm.email IN (WITH d AS (SELECT email FROM patient) SELECT email FROM d)',
    'm.email IN (WITH d (mail) AS (SELECT email FROM patient) SELECT mail FROM d)',
    'm.owner IN (SELECT id FROM patient WHERE email = :v)',
    'm.owner IN (SELECT id FROM patient WHERE patient.email = :v)',
    'm.owner IN (SELECT x.id FROM (SELECT * FROM patient) x WHERE x.email = :v)',
    'm.owner IN (SELECT id FROM patient p (a, b, c, d, e, f, g, h, i, j, k, l, m) WHERE d = :v)',
    'm.owner IN (SELECT id FROM patient ORDER BY email LIMIT 1)',
    'm.owner IN (SELECT id FROM patient GROUP BY id HAVING MAX(email) > :v)',
    'm.owner IN (SELECT v.id FROM visit v JOIN patient p ON p.email = v.id)',
    'm.owner IN (SELECT id FROM visit JOIN patient USING (id, email))',
    'm.owner IN (SELECT id FROM mailbox NATURAL JOIN patient)',
    'EXISTS (SELECT 1 FROM patient p WHERE p.email = m.email)',
    'EXISTS (SELECT 1 FROM patient p WHERE email = m.email)',
    'm.owner = (SELECT COUNT(DISTINCT email) FROM patient)',
    'm.owner = (SELECT COUNT(*) FROM (SELECT DISTINCT email FROM patient) d)',
    'm.owner = (SELECT MAX(LENGTH(email)) FROM patient)',
    'm.email = (SELECT CASE WHEN id = 1 THEN email END FROM patient)',
    'm.email = (SELECT * FROM patient)',
    'm.email IN (SELECT mails.email FROM public.patient AS mails)',
    '(SELECT "order".email FROM patient "order") = m.email',
    'm.email IN (SELECT "from", email FROM patient)',
    'm.email IN (SELECT email IS DISTINCT FROM name FROM patient)',
    'm.email IN (SELECT (p).email FROM patient p)',
    'm.email IN (SELECT row_to_json(p) FROM patient p)',
    'm.email IN (TABLE patient)',
    "m.email = 'never closed AND 1 IN (SELECT id FROM patient WHERE email = :v)",
    'm.email = 1 /* never closed ) IN (SELECT id FROM patient WHERE email = :v)',
  ])('refuses %j in any clause, where no other table is encrypted', async (text) => {
    const sql = sqlOf(database, text);
    const refused = [
      () => boxes().where(sql, v).getMany(),
      () => boxes().where('m.id > 0').andWhere(sql, v).getCount(),
      () => boxes().addSelect(`(${sql})`, 'x').setParameters(v).getRawMany(),
      () => boxes().leftJoin(Visit, 'w', sql, v).getMany(),
      () => any().delete().from(Mailbox).where(sql.replaceAll('m.', ''), v).execute(),
      () =>
        any()
          .update(Mailbox)
          .set({ email: () => `(${sql})` })
          .where('1 = 1', v)
          .execute(),
    ];
    for (const query of refused) await expectRefused(world, query);
  });

  it('refuses it in values, also of entities without an encrypted property', async () => {
    const sql = '(SELECT p.name FROM patient p WHERE p.email = :v)';
    const insert = () =>
      any()
        .insert()
        .into(Mailbox)
        .values({ email: () => sql, owner: 1 });
    await expectRefused(world, () => insert().setParameters(v).execute());
    await expectRefused(world, () =>
      world.ds
        .getRepository(Mailbox)
        .update({ id: 1 }, { email: () => '(SELECT email FROM patient)' }),
    );
    await expectRefused(world, () =>
      world.ds.getRepository(Patient).update({ id: 1 }, { name: () => 'email' }),
    );
  });

  it('refuses a derived table whose encrypted output is used outside', async () => {
    const all = '(SELECT * FROM patient)';
    const used = [
      () => any().select('d.id').from(all, 'd').where('d.email = :v', v).getRawMany(),
      () => any().select('d.id').from(all, 'd').where({ email: v.v }).getRawMany(),
      () => any().select('d.email').from(all, 'd').getRawMany(),
      () => any().select('MAX(d.email)', 'x').from(all, 'd').getRawMany(),
      () => any().select('d.id').from(all, 'd').orderBy('d.email').getRawMany(),
      () => any().from(all, 'd').getRawMany(),
      () => any().select('d').from(all, 'd').getRawMany(),
      () => any().select('d.*').from(all, 'd').getRawMany(),
      () => any().addCommonTableExpression(all, 'c').from('c', 'c').getRawMany(),
      () => boxes().innerJoin(all, 'd', 'd.email = m.email').getMany(),
      () =>
        boxes()
          .innerJoin((q) => q.select('*').from(Patient, 'x'), 'd', 'd.email = m.email')
          .getMany(),
      () =>
        boxes()
          .innerJoin((q) => q.from(Patient, 'x').select('x.email', 'mail'), 'd', 'd.mail = m.email')
          .getMany(),
      () =>
        any()
          .addCommonTableExpression('SELECT * FROM patient', 'c')
          .select('c.id')
          .from('c', 'c')
          .where('c.email = :v', v)
          .getRawMany(),
      () =>
        boxes()
          .addCommonTableExpression('SELECT * FROM patient', 'c')
          .where('m.owner IN (SELECT id FROM c WHERE email = :v)', v)
          .getMany(),
      () =>
        boxes()
          .addCommonTableExpression('SELECT email FROM patient', 'c')
          .where('m.email IN (SELECT * FROM c)')
          .getMany(),
    ];
    for (const query of used) await expectRefused(world, query);
  });

  it('refuses conditions on a table that is named in another way than its entity', async () => {
    const table = qualified(world.ds, 'patient');
    for (const query of [
      () => any().select('x.id').from(table, 'x').where('x.email = :v', v).getRawMany(),
      () => any().select('x.id').from(table, 'x').where({ email: v.v }).getRawMany(),
    ]) {
      await expectRefused(world, query);
    }
  });

  describe('the place of an encrypted selection', () => {
    const places = (n: number) =>
      [
        'N',
        ' (N)',
        '((N))',
        '+N',
        '-N',
        '-(-N)',
        'N /**/',
        'N /* /* */ */',
        'N /*',
        '/* /* */ */ N',
        'N--',
        '0xN',
        'N COLLATE NOCASE',
        '(N COLLATE "C")',
        'likely(N)',
        '"unlikely"(+N)',
        'likelihood((N), 0.5)',
        'p.id, N',
        'N; --',
      ]
        // Only PostgreSQL nests comments. Others refuse what is left.
        .filter((place) => database.dialect === 'postgres' || !place.includes('*/ */'))
        .map((place) => sqlOf(database, place.replaceAll('N', String(n))));
    const groups = ['ROLLUP (2)', 'CUBE(p.id, (2))', 'GROUPING SETS ((p.id), (2))', '(p.id, 2)'];

    it.each([...places(2), '2 ASC', '2 NULLS FIRST', '2 DESC NULLS LAST, p.id', '2 USING <'])(
      'is refused to sort by: %s',
      async (place) => {
        const selected = () => patients().select(['p.id', 'p.email']);
        for (const query of [
          () => selected().orderBy(place).getRawMany(),
          () => selected().orderBy('p.id').addOrderBy(place).getMany(),
          () => patients().orderBy(place).getMany(),
          () => patients().select('p.*').orderBy(place).getRawMany(),
          () => any().from(Patient, 'p').orderBy(place).getRawMany(),
          () => boxes().leftJoinAndSelect(Patient, 'p', 'p.id = m.owner').orderBy(place).getMany(),
        ]) {
          await expectRefused(world, query);
        }
      },
    );

    it.each([...places(2), ...groups, 'DISTINCT ROLLUP (2)', 'ALL'])(
      'is refused to group by: %s',
      async (place) => {
        const selected = () => patients().select(['p.id', 'p.email']);
        await expectRefused(world, () => selected().groupBy(place).getRawMany());
        await expectRefused(world, () => selected().groupBy('p.id').addGroupBy(place).getRawMany());
      },
    );

    it.each([...places(2).filter((place) => !/\/\*$|--/.test(place)), ...groups])(
      'is refused in a sub-query: %s',
      async (text) => {
        const place = text.replaceAll('p.', '');
        for (const sql of [
          `SELECT id FROM (SELECT id, email FROM patient ORDER BY ${place}) d`,
          `SELECT id FROM (SELECT id, email FROM patient ORDER BY ${place} LIMIT 5, 10) d`,
          `SELECT id FROM (SELECT id, email FROM patient GROUP BY ${place} ORDER BY id) d`,
          `SELECT id FROM ((SELECT id, email FROM patient) ORDER BY ${place}) d`,
          `SELECT id FROM (SELECT DISTINCT ON (id, ${place}) id, email FROM patient) d`,
          `WITH d AS (SELECT * FROM patient ORDER BY ${place} LIMIT 1) SELECT id FROM d`,
        ]) {
          await expectRefused(world, () => boxes().where(`m.owner IN (${sql})`).getMany());
        }
      },
    );

    // No other database has DISTINCT ON.
    if (database.type === 'postgres') {
      it.each([...places(2), '2 ASC'])('is refused to be told apart by: %s', async (place) => {
        await expectRefused(world, () =>
          patients().select(['p.id', 'p.email']).distinctOn([place]).getRawMany(),
        );
      });
    }

    it('is none of what only has a number in it, nor of other selections', async () => {
      for (const order of [
        '1 - p.points',
        '-1 * p.points',
        '(p.points + 1) * (2)',
        'CASE WHEN p.id = 1 THEN 0 ELSE 1 END',
        'COALESCE(p.points, 2)',
        'SUBSTR(p.name, 2)',
      ]) {
        expect(await patients().orderBy(order).getRawMany()).toHaveLength(10);
      }
      const clear = () => patients().select(['p.id', 'p.name']);
      for (const order of ['1', '(2)', '1, 2']) {
        expect(await clear().orderBy(order).getRawMany()).toHaveLength(10);
      }
      expect(await clear().groupBy('1').addGroupBy('2').getRawMany()).toHaveLength(10);
      for (const sql of [
        'SELECT id FROM (SELECT id, name FROM patient ORDER BY 2) d',
        'SELECT id FROM (SELECT id, email FROM patient ORDER BY id LIMIT 10) d',
        'SELECT id FROM (SELECT id, email FROM patient ORDER BY 1 - points, id) d',
      ]) {
        expect(await boxes().where(`m.owner IN (${sql})`).getCount()).toBe(2);
      }
    });
  });

  it.each([
    'p.email::int IS NULL',
    '"p"."email"::xml IS NOT NULL',
    'p.email :: varchar(3) /**/ IS NULL',
    'COUNT(p.email::int) = 1',
    ':v = p.email IS NULL',
    'p.name LIKE p.email IS NULL',
    'p.name || p.email IS NOT NULL',
    '-p.email IS NULL',
  ])('refuses %j, which computes more than whether there is a value', async (sql) => {
    const inner = sql.replaceAll('"p"', 'x').replaceAll('p.', 'x.');
    await expectRefused(world, () => patients().where(sqlOf(database, sql), v).getMany());
    await expectRefused(world, () =>
      boxes()
        .where(sqlOf(database, `m.owner IN (SELECT x.id FROM patient x WHERE ${inner})`), v)
        .getMany(),
    );
  });

  // Rows as values, and names by the numbers of their characters, are of PostgreSQL.
  if (database.type === 'postgres') {
    it.each([
      "to_jsonb(p)->>'email' = :v",
      'row_to_json(p)::text LIKE :v',
      'p::text = :v',
      '"p"::text = :v',
      '(p.*)::text = :v',
      'p.*::text = :v',
      'email(p) = :v',
      'p.U&"\\0065mail" = :v',
      "query_to_xml('select email from patient', true, true, '')::text = :v",
      "p.to_jsonb->>'email' = :v",
      '"p"."row_to_json"::text = :v',
      'p . row_to_json::text = :v',
      'p./* of a row */row_to_json::text = :v',
      'p.patient::text = :v',
      'p.contact.to_jsonb = :v',
      '(p).email = :v',
      '(p).row_to_json::text = :v',
      'public.p.to_jsonb = :v',
      'EXISTS (SELECT 1 FROM visit v WHERE to_jsonb(p)::text = :v)',
      'EXISTS (SELECT 1 FROM visit v WHERE p.to_jsonb::text = :v)',
      'p.id IN (SELECT x.id FROM patient x WHERE x.to_jsonb::text = :v)',
      'p.id IN (SELECT d.id FROM (SELECT * FROM patient) d WHERE d.to_jsonb::text = :v)',
      'p.id IN (SELECT d.id FROM (mailbox JOIN patient x USING (id)) d WHERE d.row_to_json = :v)',
      "/* of /* two */ ' */ p.email = :v --'",
    ])('refuses %j, which names no encrypted column as such', async (sql) => {
      await expectRefused(world, () => patients().where(sql, v).getMany());
      await expectRefused(world, () =>
        patients().select('p.id').orderBy(sql.replace('= :v', '')).getMany(),
      );
    });

    it('refuses a function that reads what a text says from any entity', async () => {
      const sql = "query_to_xml('select 1', true, true, '')::text <> ''";
      const named = { entity: 'Clinic', property: 'licence' };
      await expectRefused(world, () => boxes().where(sql).getMany(), named);
    });

    it('refuses the row of a relation that has the name of its property', async () => {
      const named = { entity: 'Clinic', property: 'licence' };
      for (const sql of ['to_jsonb(clinic)::text = :v', 'clinic.to_jsonb::text = :v']) {
        const joined = () => patients().leftJoin('p.clinic', 'clinic').where(sql, v).getMany();
        await expectRefused(world, joined, named);
      }
    });

    it.each(['to_jsonb(patient)::text', 'patient.to_jsonb::text', 'public.patient.email'])(
      'refuses %s of a table that is changed',
      async (sql) => {
        const change = () =>
          any()
            .update(Patient)
            .set({ name: () => sql });
        await expectRefused(world, () => change().where('id = 1').execute());
        const condition = `${sql} = :v`;
        await expectRefused(world, () =>
          any().delete().from(Patient).where(condition, v).execute(),
        );
      },
    );

    it('refuses to hand out what is computed of an encrypted column that was written', async () => {
      const change = () => any().update(Patient).set({ points: 0 }).where('id = 1');
      for (const sql of [
        "email || 'x'",
        'id, to_jsonb(patient)',
        'patient.to_jsonb',
        'to_jsonb(old)',
        'new.row_to_json',
        'WITH (old AS o) to_jsonb(o)',
      ]) {
        await expectRefused(world, () => change().returning(sql).execute());
      }
      const { raw } = await change().returning('id, email, name || 1 AS "named"').execute();
      expect(raw).toMatchObject([{ id: 1, named: 'n11' }]);
    });

    it('says how a column is named that no property maps', async () => {
      const error = await expectRefused(world, () => patients().where('p.unmapped = 1').getMany());
      expect(error.message).toMatch(/p\.unmapped.*function.*select: false.*without/s);
    });

    it('accepts all names by which TypeORM and PostgreSQL know the columns of a row', async () => {
      for (const sql of [
        'p.clinic = 1',
        'p.clinic.id = 1',
        'p.clinicId = 1',
        'p."clinicId" = 1',
        'p.contact.street IS NOT NULL',
        'p.contactStreet IS NOT NULL',
        'p.deletedAt IS NULL',
        'p.xmin IS NOT NULL AND p.ctid IS NOT NULL AND p.tableoid > 0',
        'p.id IN (SELECT d.id FROM (SELECT * FROM patient) d WHERE d.name IS NOT NULL)',
        'p.id IN (SELECT d.total FROM (SELECT *, id + 0 AS total FROM patient) d)',
        'p.id IN (SELECT d.owner FROM (mailbox m JOIN patient x ON x.id = m.owner) d)',
      ]) {
        await expect(patients().where(sql).getMany()).resolves.toBeDefined();
      }
    });
  }

  it('refuses an encrypted column of the row that an insert could not add', async () => {
    const insert = () =>
      any().insert().into(Patient).values({ id: 1, name: 'x', email: 'zq7~new@example.org' });
    const told = (sql: string) => () => {
      // TypeORM 0.3 has a method for it.
      const builder = insert();
      Object.assign(builder.expressionMap, { onConflict: sql });
      return builder.execute();
    };
    const rows = database.type === 'postgres' ? ['to_jsonb(excluded)::text'] : [];
    if (database.type === 'postgres') rows.push('EXCLUDED.to_jsonb::text');
    for (const value of [
      'EXCLUDED.email',
      `excluded . ${quoted(database, 'email')}`,
      'lower(EXCLUDED.email)',
      ...rows,
    ]) {
      await expectRefused(world, told(`(id) DO UPDATE SET name = ${value}`));
      await expectRefused(world, told(`(id) DO UPDATE SET name = 'x' WHERE ${value} > ''`));
    }
    await expectRefused(world, told('(id) DO UPDATE SET name = EXCLUDED.email_bidx'));
    for (const where of ['EXCLUDED.email <> :v', 'patient.email <> EXCLUDED.email']) {
      await expectRefused(world, () =>
        insert()
          .orUpdate(['name'], ['id'], { overwriteCondition: { where, parameters: v } })
          .execute(),
      );
    }
  });

  it('accepts the row that an insert could not add where nothing of it is encrypted', async () => {
    const where = 'EXCLUDED.email IS NOT NULL AND EXCLUDED.points = 0';
    const insert = any()
      .insert()
      .into(Patient)
      .values({ id: 1, name: 'n1', email: 'zq7~other@example.org' })
      .orUpdate(['name'], ['id'], { overwriteCondition: { where } });
    await expect(insert.execute()).resolves.toBeDefined();
  });

  it('refuses a column of the table that only another entity encrypts', async () => {
    const named = { entity: 'Staff', property: 'specialty' };
    const nurses = () => world.ds.createQueryBuilder(Nurse, 'n');
    await expectRefused(world, () => nurses().where('n.specialty = :v', v).getMany(), named);
    await expectRefused(world, () => nurses().orderBy('specialty').getMany(), named);
  });

  it('refuses conditions on a table by its quoted name', async () => {
    const query = any()
      .select('x.id')
      .from(quoted(database, 'patient'), 'x')
      .where('x.email = :v', v);
    await expectRefused(world, () => query.getRawMany());
  });

  if (typeormMajor === 1) {
    it('refuses INSERT … SELECT of an encrypted column into one that is not', async () => {
      const insert = any().insert().into(Mailbox, ['email', 'owner']) as never as {
        valuesFromSelect(query: unknown): { execute(): Promise<unknown> };
      };
      const query = patients().select('p.email').addSelect('p.id');
      await expectRefused(world, () => insert.valuesFromSelect(query).execute());
    });
  }

  it('accepts what uses no encrypted column, or only whether there is a value', async () => {
    const accepted: [string, number][] = [
      ['m.owner IN (SELECT id FROM patient)', 2],
      ['m.owner IN (SELECT v.id FROM visit v)', 2],
      ['m.owner IN (SELECT p.id FROM patient p WHERE p.email IS NOT NULL AND p.points * 1 = 0)', 2],
      ['EXISTS (SELECT * FROM patient p WHERE p.id = m.owner)', 2],
      ['m.owner < (SELECT COUNT(*) FROM patient)', 2],
      ['m.owner < (SELECT COUNT(email) FROM patient)', 2],
      ['m.owner < (SELECT COUNT(*) FROM (SELECT * FROM patient) d)', 2],
      ['m.owner IN (SELECT d.id FROM (SELECT id, email FROM patient) d ORDER BY d.id)', 2],
      ['m.owner IN (SELECT DISTINCT id FROM patient)', 2],
      ['m.owner IN (WITH d AS (SELECT * FROM patient) SELECT id FROM d)', 2],
      // The other table of this name is not encrypted.
      ['m.id IN (SELECT id FROM mailbox WHERE email IS NOT NULL AND LENGTH(email) > 0)', 2],
      [
        'EXISTS (SELECT 1 FROM patient p JOIN mailbox b ON b.owner = p.id WHERE b.email = m.email)',
        2,
      ],
      ["m.email <> 'SELECT email FROM patient'", 2],
    ];
    for (const [sql, count] of accepted) {
      expect([sql, await boxes().where(sql).getCount()]).toEqual([sql, count]);
    }
    const lookup = patients().select('p.id').where({ email: 'zq7~p1@example.org' });
    const found = boxes().where(`m.owner IN (${lookup.getQuery()})`);
    expect(await found.setParameters(lookup.getParameters()).getCount()).toBe(1);
  });

  it('accepts a derived table whose outer query uses no encrypted output', async () => {
    const all = patients()
      .leftJoinAndSelect('p.clinic', 'c')
      .where({ email: 'zq7~p1@example.org' });
    const counted = any().select('COUNT(*)', 'n').from(`(${all.getQuery()})`, 'd');
    const { n } = (await counted.setParameters(all.getParameters()).getRawOne()) as { n: unknown };
    expect(Number(n)).toBe(1);
    const joined = boxes().innerJoin('(SELECT * FROM patient)', 'd', 'd.id = m.owner');
    expect(await joined.getCount()).toBe(2);
    const paged = patients()
      .leftJoinAndSelect('p.visits', 'v')
      .distinct(true)
      .orderBy('p.id')
      .take(3);
    expect(await paged.getMany()).toHaveLength(3);
    expect(
      await world.ds.getRepository(Clinic).find({ relations: { patients: true }, take: 1 }),
    ).toHaveLength(1);
  });
});
