import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { ObjectLiteral, Repository, UpdateQueryBuilder } from 'typeorm';
import { Encrypted } from '../../src';
import { describeEachDatabase } from '../support/databases';
import { openEncrypted, useEncryptedDatabase } from '../support/encrypted-database';

@Entity({ name: 'bed' })
class Bed {
  @PrimaryColumn() id!: number;
  @Column({ name: 'one' }) ward!: string;
  @Column({ name: 'two' }) room!: string;
  @Encrypted() patient!: string;
}

/** The same table, with two properties the other way round. */
@Entity({ name: 'bed', synchronize: false })
class TurnedBed {
  @PrimaryColumn() id!: number;
  @Column({ name: 'two' }) ward!: string;
  @Column({ name: 'one' }) room!: string;
  @Encrypted({ id: 'Bed.patient' }) patient!: string;
}

const BED = Object.freeze({ id: 1, ward: 'north', room: '12', patient: 'canary Ada' });

describeEachDatabase('A statement that was sent before', (database) => {
  const opened = useEncryptedDatabase(database, { entities: [Bed, TurnedBed] });
  const beds = (): Repository<Bed> => opened.dataSource.getRepository(Bed);
  const turned = (): Repository<TurnedBed> => opened.dataSource.getRepository(TurnedBed);

  function movingOf(entity: new () => ObjectLiteral): UpdateQueryBuilder<ObjectLiteral> {
    return opened.dataSource
      .createQueryBuilder()
      .update(entity)
      .set({ patient: 'canary Eve' })
      .where('ward = :ward', { ward: '12' });
  }

  it('names the columns of its own entity, not those of another one on the table', async () => {
    await beds().insert(BED);
    for (let time = 0; time < 2; time += 1) {
      await movingOf(Bed).execute();
      expect(await beds().find()).toEqual([BED]);
      await movingOf(TurnedBed).execute();
      expect(await turned().findOneBy({ ward: '12' })).toMatchObject({ patient: 'canary Eve' });
      expect(await beds().findOneBy({ ward: '12' })).toBeNull();
      await beds().update({ ward: 'north' }, { patient: 'canary Ada' });
    }
    expect(await beds().find()).toEqual([BED]);
    await beds().delete({ ward: '12' });
    expect(await beds().count()).toBe(1);
    await turned().delete({ ward: '12' });
    expect(await beds().count()).toBe(0);
  });

  it('is the same each time, whatever its values', async () => {
    await beds().insert(BED);
    await beds().insert({ ...BED, id: 2, ward: 'south' });
    for (const [id, patient] of [
      [1, 'canary Ada'],
      [2, 'canary Bea'],
      [1, 'canary Cyd'],
    ] as const) {
      await beds().update({ id }, { patient });
      expect(await beds().findOneBy({ id })).toMatchObject({ id, patient });
    }
    expect(await beds().findBy({ ward: 'south' })).toEqual([
      { ...BED, id: 2, ward: 'south', patient: 'canary Bea' },
    ]);
  });

  it('is not taken for one whose names are not to be escaped', () => {
    const escaped = movingOf(Bed).getQuery();
    const plain = movingOf(Bed).disableEscaping().getQuery();
    expect(plain).toBe(escaped.replaceAll('"', ''));
    expect(movingOf(Bed).getQuery()).toBe(escaped);
  });

  it('is told apart by its text, comment and all', () => {
    const escaped = movingOf(Bed).getQuery();
    expect(movingOf(Bed).comment('ward = 1').getQuery()).not.toBe(escaped);
    expect(movingOf(Bed).getQuery()).toBe(escaped);
  });
});

describeEachDatabase(
  'A statement that was sent before the DataSource was destroyed',
  (database) => {
    it('is sent as ever when it is initialized again', async () => {
      const { dataSource, dispose } = await openEncrypted(database, { entities: [Bed] });
      try {
        for (let time = 0; time < 2; time += 1) {
          const beds = dataSource.getRepository(Bed);
          await beds.upsert(BED, ['id']);
          await beds.update({ ward: 'north' }, { patient: 'canary Eve' });
          expect(await beds.find()).toEqual([{ ...BED, patient: 'canary Eve' }]);
          await dataSource.destroy();
          await dataSource.initialize();
        }
      } finally {
        await dispose();
      }
    });
  },
);
