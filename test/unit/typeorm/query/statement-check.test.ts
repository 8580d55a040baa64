import { UnsupportedQueryError } from '../../../../src';
import { installationOf } from '../../../../src/typeorm/installation/installations';
import { assertNoRawUse } from '../../../../src/typeorm/query/refusal/statement-check';
import { DATABASES } from '../../../support/databases';
import type { DatabaseKind } from '../../../support/databases';
import { LOOKUP_ENTITIES, openWorld, Patient } from '../../../support/lookup-world';
import type { World } from '../../../support/lookup-world';

describe('the check of hand-written SQL', () => {
  let world: World;

  beforeAll(async () => {
    world = await openWorld(DATABASES[0] as DatabaseKind, { entities: LOOKUP_ENTITIES });
  });

  afterAll(() => world.close());

  const build = (sql: string) => () =>
    world.ds.createQueryBuilder(Patient, 'p').where(sql).getQuery();

  it.each([
    ['a string', "p.name = 'p.email'"],
    ['a string with a doubled quote', "p.name = 'o''email = p.email'"],
    ['a block comment', 'p.name = 1 /* p.email */'],
    ['a line comment', 'p.name = 1 -- p.email'],
    ['a parameter', 'p.name = :email'],
    ['a list parameter', 'p.name IN (:...email)'],
    ['a longer name', 'p.emails = 1 AND p.email_bidx = 2 AND p.my_email = 3'],
    ['a quoted longer name', '"p"."email address" = 1'],
    ['a function of the name', "email('x') = 1"],
    ['another qualifier', 'q.email = 1'],
    ['another schema', 'other.p2.email = 1'],
    ['a string that is the name', "p.name = 'email' AND p.name IS DISTINCT FROM 'email'"],
  ])('steps over %s', (_title, sql) => {
    expect(build(sql)).not.toThrow();
  });

  it.each([
    ['a string that has ended', "p.name = 'it''s' AND p.email = 1"],
    ['a string whose backslash is no escape', "p.name = 'a\\' AND p.email = 'b'"],
    ['a string after a name that is no prefix of it', "p.name = e'\\' AND p.email = 'b'"],
    ['a name in brackets with a quote', "p.[it's] = 1 AND p.email = 'b'"],
    ['a comment that ends at the next line', "1 --'\n= 1 AND p.email = 'b'"],
    ['a comment that does not nest', "/* /* */ p.email = 'b'"],
    ['a parameter whose name has a quote', "p.name = $a(') AND p.email = $b(')"],
    ['a byte order mark', '\ufeffemail = 1'],
    ['a number', '0x1 = 1and email = 1'],
    ['a comment that has ended', '/* a */ p.email /* b */ = 1'],
    ['an empty string', "p.name = '' AND p.email = ''"],
    ['a cast', 'p.name::text = p.email'],
    ['a parameter', ':email = p.email'],
    ['all columns in parentheses', "EXISTS (SELECT 1 FROM patient x WHERE (x.*)::text = 'b')"],
    ['a name in upper case', 'P.EMAIL = 1'],
    ['a quoted name', '"p"."email" = 1'],
    ['a name in backticks', '`p`.`email` = 1'],
    ['a name in brackets', 'p.[email] = 1'],
    ['space around the dot', 'p .\n email = 1'],
    ['a comment around the dot', 'p/**/./**/email = 1'],
    ['a comment before the dot', 'EXISTS (SELECT 1 FROM plain q WHERE p/**/.email = q.email)'],
    ['a table name', 'patient.email = 1'],
    ['no qualifier', 'email = 1'],
    ['a database name', 'p.social_no = 1'],
    ['a name before IN', 'email IN (1, 2)'],
    ['a NULL check of something else', 'p.name IS NULL AND p.email = 1'],
    ['a comparison with a NULL check', '(p.email = 1) IS NULL'],
    ['a count of something else', 'COUNT(p.name) = p.email'],
    ['a count of distinct values', 'COUNT(DISTINCT p.email) = 1'],
    ['a count of an expression', 'COUNT(p.email + 1) = 1'],
    ['a string after a dot', "p.'email' = 'b'"],
    ['a string before a dot', "'p'.'email' = 'b'"],
    ['a string with space around the dot', "p . 'EMAIL' = 'b'"],
    ['a string with a comment around the dot', "p/**/./**/'email' = 'b'"],
    ['a table alias that is a string', "1 IN (SELECT 1 FROM patient 'q' WHERE q.email = 'b')"],
    ['a table that is a string', "1 IN (SELECT 1 FROM 'patient' q WHERE q.'email' = 'b')"],
    ['a further table that is a string', "1 IN (SELECT 1 FROM v, 'patient' q WHERE q.email = 1)"],
    ['a column for a join that is a string', "1 IN (SELECT 1 FROM v JOIN patient USING ('email'))"],
    ['a table with those that inherit', "1 IN (SELECT 1 FROM patient * q WHERE q.email = 'b')"],
    ['one table only', "1 IN (SELECT 1 FROM only(patient) q WHERE q.email = 'b')"],
    [
      'a join in parentheses',
      "1 IN (SELECT 1 FROM (patient CROSS JOIN plain w) z WHERE z.email = 'b')",
    ],
  ])('sees a reference after or in %s', (_title, sql) => {
    expect(build(sql)).toThrow(UnsupportedQueryError);
  });

  it.each([
    "'x', 'email' = 'b'",
    "'x', ('email', 'name') = ('b', 'c')",
    `'x', "email_bidx" = 'b'`,
    "'x', 'EMAIL_bidx' = 'b'",
    "'x', ssn_bidx = 'b'",
    'email_bidx',
  ])('sees that the value %j assigns another one as well', (sql) => {
    const update = world.ds.createQueryBuilder().update(Patient);
    expect(() => update.set({ name: () => sql }).getQuery()).toThrow(UnsupportedQueryError);
  });

  it('refuses to overwrite an index column without its property', () => {
    const insert = () => world.ds.createQueryBuilder().insert().into(Patient);
    expect(() => insert().orUpdate(['ssn_bidx'], ['id'])).toThrow(/Write ssn instead.*"social_no"/);
    expect(() => insert().orUpdate(['social_no', 'ssn_bidx'], ['id'])).not.toThrow();
  });

  // Each of them would take minutes if it were looked at anew for every name in it.
  it.each<[string, string]>([
    ['names', 'p.email IS NULL AND email_bidx = 1 OR '],
    ['parentheses', '(p.email IS NULL) AND ((email_bidx)) = ((1)) OR '],
    ['open parentheses', '(p.email IS NULL OR '],
    ['sub-queries', 'p.id IN (SELECT id FROM patient WHERE email IS NULL) OR '],
    ['parameters', 'p.email IS NULL OR :a$:b@c#d$e'],
    ['dots', 'p.email IS NULL OR a.b . '],
    ['spaces', 'p.email IS NULL OR                                        '],
    ['casts', 'p.email IS NULL OR p.name::text ::::, '],
    ['types', 'p.email IS NULL OR p.name::varchar (9) OR a::b varying         (1, 1'],
  ])('looks once at a quarter of a megabyte of %s', (_title, part) => {
    const sql = part.repeat(Math.ceil(2 ** 18 / part.length));
    expect(() => {
      assertNoRawUse(
        world.ds.createQueryBuilder(Patient, 'p').where(sql).expressionMap,
        installationOf(world.ds),
      );
    }).not.toThrow();
  });

  it('sees a reference at the end of a long text of what is never closed', () => {
    for (const part of ["'", '/*', '$a(', '"', '(', '[', '`']) {
      const sql = `${part} p.name = 1 `.repeat(10_000) + ' OR p.email = 1';
      expect(build(sql)).toThrow(UnsupportedQueryError);
    }
  });
});
