import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { DataSource, SelectQueryBuilder } from 'typeorm';
import { BlindIndex, Encrypted, UnsupportedQueryError } from '../../src';
import { describeDiagonal } from '../support/databases';
import { Cleanup, protect, rejection } from '../support/protected-database';

class Contact {
  @Column() city!: string;
  @Encrypted() @BlindIndex() mail!: string;
}

@Entity()
class Person {
  @PrimaryColumn() id!: number;
  @Column(() => Contact) contact!: Contact;
}

/** Its plain `mail` is what TypeORM takes the name for. */
@Entity()
class Sender {
  @PrimaryColumn() id!: number;
  @Column() mail!: string;
  @Column(() => Contact) contact!: Contact;
}

describeDiagonal('A property of an embedded class, by the last part of its path', (kind) => {
  const cleanup = new Cleanup();
  const m = { m: 'canary a' };
  let dataSource: DataSource;

  beforeAll(async () => {
    const entities = [Person, Sender];
    const database = await cleanup.create(kind, { entities, synchronize: true });
    dataSource = cleanup.add(protect(database));
    await dataSource.initialize();
    for (const [at, name] of ['e', 'd', 'c', 'b', 'a'].entries()) {
      const contact = { city: name, mail: `canary ${name}` };
      await dataSource.getRepository(Person).insert({ id: at, contact });
      await dataSource.getRepository(Sender).insert({ id: at, mail: name, contact });
    }
  });
  afterAll(() => cleanup.run());

  const people = (): SelectQueryBuilder<Person> => dataSource.createQueryBuilder(Person, 'p');
  const change = () => dataSource.createQueryBuilder();

  it.each<[string, () => Promise<unknown>]>([
    ['a condition', () => people().where('p.mail = :m', m).getMany()],
    ['a comparison', () => people().where('p.mail > :m', m).getMany()],
    ['an order', () => people().orderBy('p.mail').getMany()],
    ['a group', () => people().select('COUNT(*)', 'n').groupBy('p.mail').getRawMany()],
    [
      'the condition of a deletion',
      () => change().delete().from(Person).where('mail <> :m', m).execute(),
    ],
    [
      'the condition of an update',
      () =>
        change()
          .update(Person)
          .set({ contact: { city: 'x' } })
          .where('mail = :m', m)
          .execute(),
    ],
    [
      'a value that is SQL',
      () =>
        change()
          .update(Person)
          .set({ contact: { city: () => 'mail' } })
          .where('id = 1')
          .execute(),
    ],
    [
      'SQL that goes on to the token',
      () =>
        change()
          .update(Person)
          .set({ contact: { city: () => "'q', mail_bidx = 'y'" } })
          .where('id = 1')
          .execute(),
    ],
  ])('is refused in %s, as by its whole path', async (_what, query) => {
    const error = await rejection(query());
    expect(error).toBeInstanceOf(UnsupportedQueryError);
    expect(error).toMatchObject({ entity: 'Person', property: 'contact.mail' });
    expect(error.message).not.toContain('canary');
    expect(await dataSource.getRepository(Person).count()).toBe(5);
  });

  it('is used as TypeORM uses it where it is not encrypted', async () => {
    const byCity = await people().orderBy('p.city').getMany();
    expect(byCity.map(({ contact }) => contact.city)).toEqual(['a', 'b', 'c', 'd', 'e']);
    expect(await people().where('p.city = :city', { city: 'b' }).getCount()).toBe(1);
  });

  it('is another property where that has the name for its path', async () => {
    const senders = dataSource.createQueryBuilder(Sender, 's');
    expect(await senders.where('s.mail = :mail', { mail: 'b' }).getCount()).toBe(1);
    await change().delete().from(Sender).where('mail = :mail', { mail: 'a' }).execute();
    expect(await dataSource.getRepository(Sender).count()).toBe(4);
  });
});
