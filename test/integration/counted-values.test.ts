import { Column, Entity, ManyToOne, PrimaryColumn } from 'typeorm';
import type { Repository } from 'typeorm';
import { BlindIndex, Encrypted, fieldEncryption, UnsupportedQueryError } from '../../src';
import { describeEachDatabase, typeormMajor } from '../support/databases';
import { useEncryptedDatabase } from '../support/encrypted-database';
import { rejection } from '../support/protected-database';

@Entity()
class Ward {
  @PrimaryColumn() id!: number;
  @Encrypted() @BlindIndex() name!: string;
  @Column() plainName!: string;
}

/** Each value once encrypted, and once not, to be counted alike. */
@Entity()
class Stay {
  @PrimaryColumn() id!: number;
  @Encrypted({ nullable: true }) @BlindIndex() name!: string | null;
  @Column({ nullable: true, type: 'varchar' }) plainName!: string | null;
  @Encrypted({ nullable: true, type: 'number' }) @BlindIndex() age!: number | null;
  @Column({ nullable: true, type: 'float' }) plainAge!: number | null;
  @Encrypted() @BlindIndex({ normalize: 'email' }) email!: string;
  @Encrypted() @BlindIndex({ bits: 16 }) pet!: string;
  @Encrypted()
  @BlindIndex({ normalize: 'email' })
  @BlindIndex({ name: 'same' })
  both!: string;
  @Encrypted() @BlindIndex({ previous: [{ normalize: 'email' }] }) changing!: string;
  @Encrypted() note!: string;
  @ManyToOne(() => Ward) ward!: Ward;
}

describeEachDatabase('Counting distinct values', (database) => {
  const opened = useEncryptedDatabase(database, { entities: [Ward, Stay] });
  let stays: Repository<Stay>;

  beforeEach(async () => {
    const { dataSource } = opened;
    stays = dataSource.getRepository(Stay);
    const wards = [1, 2, 3].map((id) => ({
      id,
      name: `CANARY ${String(id % 2)}`,
      plainName: `w${String(id % 2)}`,
    }));
    await dataSource.getRepository(Ward).insert(wards);
    const rows: [string | null, number | null][] = [
      ['Ann', 1],
      ['Ann', 1],
      ['ann', -0],
      [null, 0],
      [null, null],
      ['Bob', 2.5],
    ];
    for (const [i, [name, age]] of rows.entries()) {
      await stays.insert({
        id: i + 1,
        name: name && `CANARY ${name}`,
        plainName: name,
        age,
        plainAge: age,
        email: 'CANARY e',
        pet: 'CANARY p',
        both: 'CANARY b',
        changing: 'CANARY c',
        note: 'CANARY n',
        ward: { id: (i % 3) + 1 },
      });
    }
  });

  const count = (select: object, more: object = {}): Promise<number> =>
    stays.count({ select, ...more });

  it('counts those of an encrypted property as those of a plain one', async () => {
    const distinct = typeormMajor === 1;
    for (const [encrypted, plain, expected] of [
      [{ name: true }, { plainName: true }, 3],
      [{ age: true }, { plainAge: true }, 3],
    ] as const) {
      // By default MySQL compares texts without regard to case.
      if (database.dialect !== 'mysql') expect(await count(plain)).toBe(distinct ? expected : 6);
      expect(await count(encrypted)).toBe(distinct ? expected : 6);
    }
    expect(await count({ name: true, age: true })).toBe(
      await count({ plainName: true, plainAge: true }),
    );
    const related = { relations: { ward: true } };
    expect(await count({ ward: { name: true } }, related)).toBe(
      await count({ ward: { plainName: true } }, related),
    );
    expect(await count({ both: true })).toBe(distinct ? 1 : 6);
    const name = 'CANARY Ann';
    expect(await count({ name: true }, { where: { name } })).toBe(distinct ? 1 : 2);
  });

  it('counts rows where the primary key is selected, and without a selection', async () => {
    expect(await count({ id: true, name: true, note: true })).toBe(6);
    expect(await stays.count()).toBe(6);
    const [found, all] = await stays.findAndCount({ select: { id: true, note: true }, take: 2 });
    expect([found.length, all]).toEqual([2, 6]);
    expect(await stays.createQueryBuilder('s').select('s.note').getCount()).toBe(6);
  });

  if (typeormMajor === 1) {
    it.each(['email', 'pet', 'note', 'changing'] as const)(
      'refuses those of %s by name, which no index tells apart exactly',
      async (property) => {
        opened.statements.clear();
        const error = await rejection(count({ [property]: true }));
        expect(error).toBeInstanceOf(UnsupportedQueryError);
        expect(error).toMatchObject({ entity: 'Stay', property });
        expect(error.message).toMatch(/Stay\.\w+ is encrypted and .*\. Select the primary key/);
        expect(opened.statements.of('SELECT COUNT')).toEqual([]);
      },
    );

    it('refuses them while the root of the index changes', async () => {
      const { dataSource } = opened;
      await fieldEncryption(dataSource).keys.rotateIndex();
      await expect(count({ name: true })).rejects.toMatchObject({ property: 'name' });
      await fieldEncryption(dataSource).reencrypt();
    });
  }
});
