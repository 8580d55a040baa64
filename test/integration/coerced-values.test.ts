import { inspect } from 'node:util';
import { Column, Entity, In, PrimaryGeneratedColumn } from 'typeorm';
import {
  BlindIndex,
  Encrypted,
  fieldEncryption,
  InvalidFieldPolicyError,
  UnsupportedValueError,
} from '../../src';
import { describeEachDatabase } from '../support/databases';
import { useEncryptedDatabase } from '../support/encrypted-database';
import { Cleanup, protect, rejection } from '../support/protected-database';

@Entity()
class Coerced {
  @PrimaryGeneratedColumn() id!: number;
  @Encrypted({ coerce: true, type: 'string', nullable: true })
  @BlindIndex()
  text!: unknown;
  @Encrypted({ coerce: true, type: 'number', nullable: true })
  @BlindIndex()
  number!: unknown;
  @Encrypted({ coerce: true, type: 'bigint', nullable: true })
  @BlindIndex()
  bigint!: unknown;
  @Encrypted({ coerce: true, type: 'boolean', nullable: true })
  @BlindIndex({ acknowledgeLeakage: true })
  boolean!: unknown;
  @Encrypted({ coerce: true, type: 'date', nullable: true })
  @BlindIndex()
  date!: unknown;
}

/** The same columns in clear. */
@Entity()
class Plain {
  @PrimaryGeneratedColumn() id!: number;
  @Column({ type: 'varchar', nullable: true }) text!: unknown;
  @Column({ type: 'float', nullable: true }) number!: unknown;
  @Column({ type: 'bigint', nullable: true }) bigint!: unknown;
  @Column({ type: 'boolean', nullable: true }) boolean!: unknown;
  @Column({ type: Boolean, nullable: true }) flag!: unknown;
  @Column({ type: Date, nullable: true }) date!: unknown;
}

@Entity()
class Strict {
  @PrimaryGeneratedColumn() id!: number;
  @Encrypted() @BlindIndex() text!: string;
}

type Property = Exclude<keyof Coerced, 'id'>;

const COERCED: readonly (readonly [Property, unknown, unknown])[] = [
  ['text', 5, '5'],
  ['text', -0.5, '-0.5'],
  ['text', 1e21, '1e+21'],
  ['text', 2n ** 63n, '9223372036854775808'],
  ['text', true, 'true'],
  ['text', false, 'false'],
  ['text', '007', '007'],
  ['number', '12.50', 12.5],
  ['number', ' -3 ', -3],
  ['number', '1e3', 1000],
  ['number', '-0.00e5', -0],
  ['bigint', '9007199254740993', 9007199254740993n],
  ['bigint', 5, 5n],
  ['boolean', 'true', true],
  ['boolean', 'F', false],
  ['boolean', 1, true],
  ['boolean', 0, false],
  ['date', '2024-02-29T10:00:00.000Z', new Date('2024-02-29T10:00:00.000Z')],
  ['date', '2024-02-29 12:00:00+02:00', new Date('2024-02-29T10:00:00.000Z')],
  ['date', '2024-02-29T10:00', new Date(2024, 1, 29, 10)],
  ['date', '2024-02-29', new Date('2024-02-29T00:00:00.000Z')],
];

const REFUSED: readonly (readonly [Property, unknown])[] = [
  ['text', new Date()],
  ['text', { canary: 1 }],
  ['text', ['canary']],
  ['text', Symbol('canary')],
  ['number', 'canary'],
  ['number', ''],
  ['number', '0x10'],
  ['number', '1e999'],
  ['number', '1e-400'],
  ['number', '9007199254740993'],
  ['number', true],
  ['bigint', '1.5'],
  ['bigint', 1.5],
  ['bigint', 2 ** 60],
  ['boolean', 2],
  ['boolean', 'canary'],
  ['date', 1709200800000],
  ['date', 'canary'],
  ['date', 'March 7'],
  ['date', '2023-02-29'],
  ['date', '2024-02-29T25:00:00Z'],
  ['date', '2024-02-29T24:00'],
  ['date', '2024-02-29 24:00:00.000Z'],
];

describeEachDatabase('@Encrypted({ coerce: true })', (database) => {
  const used = useEncryptedDatabase(database, { entities: [Coerced, Plain, Strict] });
  const rows = () => used.dataSource.getRepository(Coerced);

  it.each(COERCED)('takes for a %s the value %p', async (property, given, expected) => {
    const { identifiers } = await rows().insert({ [property]: given });
    const { id } = await rows().save({ [property]: given });
    await rows().save({ id, [property]: given });
    await rows().insert({});
    const found = await rows().findBy({ [property]: given });

    expect(found.map((row) => row.id)).toEqual([identifiers[0]?.id, id]);
    for (const row of found) expect(row[property]).toStrictEqual(expected);
    expect(await rows().countBy({ [property]: In([given]) })).toBe(2);
    expect(await rows().countBy({ [property]: expected })).toBe(2);
    const handle = fieldEncryption(used.dataSource);
    const token = await handle.token(Coerced, property, given);
    expect(token).toBe(await handle.token(Coerced, property, expected));
    const stored = await handle.encryptValue(Coerced, property, given);
    expect(await handle.decryptValue(Coerced, property, stored)).toStrictEqual(expected);
  });

  it.each(REFUSED)('refuses for a %s the value %p', async (property, given) => {
    const handle = fieldEncryption(used.dataSource);
    for (const use of [
      () => rows().insert({ [property]: given }),
      () => rows().findBy({ [property]: In([given]) }),
      () => handle.token(Coerced, property, given),
      () => handle.encryptValue(Coerced, property, given),
    ]) {
      const error = await rejection(async () => use());
      expect(error).toBeInstanceOf(UnsupportedValueError);
      expect(error).toMatchObject({ entity: 'Coerced', property });
      expect(inspect(error)).not.toContain('canary');
    }
    expect(await rows().count()).toBe(0);
  });

  it('does nothing by default', async () => {
    const strict = used.dataSource.getRepository(Strict);
    for (const use of [strict.insert({ text: 5 as never }), strict.findBy({ text: 5 as never })]) {
      expect(await rejection(use)).toBeInstanceOf(UnsupportedValueError);
    }
  });

  it('finds a row that is still in clear by a value of another type', async () => {
    const cleanup = new Cleanup();
    try {
      const dataSource = cleanup.add(
        protect(await cleanup.create(database, { entities: [Coerced], synchronize: true }), {
          legacyPlaintext: ['Coerced.text', 'Coerced.number', 'Coerced.date'],
        }),
      );
      await dataSource.initialize();
      await dataSource.query(
        `INSERT INTO coerced (text, number, date) VALUES ('5', '12.5', '2024-02-29T10:00:00.000Z')`,
      );
      for (const where of [{ text: 5 }, { number: '12.50' }, { date: '2024-02-29T10:00:00Z' }]) {
        expect(await dataSource.getRepository(Coerced).countBy(where)).toBe(1);
      }
    } finally {
      await cleanup.run();
    }
  });

  it.each(['json', 'bytes'] as const)(
    'is refused for %s, which takes nothing else',
    async (type) => {
      @Entity()
      class Misdeclared {
        @PrimaryGeneratedColumn() id!: number;
        @Encrypted({ type, coerce: true }) value!: unknown;
      }
      const cleanup = new Cleanup();
      try {
        const misdeclared = await cleanup.create(database, { entities: [Misdeclared] });
        const error = await rejection(protect(misdeclared).initialize());
        expect(error).toBeInstanceOf(InvalidFieldPolicyError);
        expect(error.message).toContain('"coerce"');
      } finally {
        await cleanup.run();
      }
    },
  );

  it('stores true where TypeORM stored false in a column in clear', async () => {
    const { id } = await used.dataSource.getRepository(Plain).save({ flag: 'true' });
    const row = await used.dataSource.getRepository(Plain).findOneByOrFail({ id });
    expect(row.flag).toBe(false);
  });

  // Columns of other databases take some of these values for others, or as they are.
  if (database.type === 'postgres') {
    it('reads what the column in clear gave', async () => {
      const plain = used.dataSource.getRepository(Plain);
      const asPostgres = COERCED.filter(
        ([property, given]) => property !== 'bigint' && given !== '2024-02-29',
      );
      for (const [property, given, expected] of asPostgres) {
        const { id } = await plain.save({ [property]: given });
        expect((await plain.findOneByOrFail({ id }))[property]).toStrictEqual(expected);
      }
    });

    it.each([
      ['number', true],
      ['date', 1709200800000],
    ])('refuses for a %s the value %p, as the column in clear did', async (property, given) => {
      const written = used.dataSource.getRepository(Plain).insert({ [property]: given });
      await expect(written).rejects.toThrow();
    });
  }
});
