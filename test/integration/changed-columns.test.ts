import {
  Column,
  CreateDateColumn,
  EntitySchema,
  PrimaryGeneratedColumn,
  UpdateDateColumn,
  VersionColumn,
  Entity,
} from 'typeorm';
import type { ObjectLiteral } from 'typeorm';
import { BlindIndex, Encrypted, blindIndexColumns, encryptedColumn } from '../../src';
import type { EncryptedType } from '../../src';
import { describeEachDatabase } from '../support/databases';
import { expectNoCanary, useEncryptedDatabase } from '../support/encrypted-database';
import { rejection } from '../support/protected-database';
import { rawRows, storedPlaintexts } from '../support/stored-rows';

interface Sample {
  readonly type: EncryptedType;
  readonly values: readonly unknown[];
  /** An equal value that is another object, for what is compared by content. */
  readonly copy?: (value: never) => unknown;
}

const SAMPLES: readonly Sample[] = [
  {
    type: 'string',
    values: ['', 'canary', 'ünïcode 🩺 \u0000', 'AQIDBAUGBwgJ', '  spaced  ', 'null'],
  },
  {
    type: 'number',
    values: [1.5, 0, -0, -1e300, Number.MAX_SAFE_INTEGER, NaN, Infinity, -Infinity, 5e-324],
  },
  { type: 'bigint', values: [0n, -1n, 2n ** 64n, -(10n ** 40n)] },
  { type: 'boolean', values: [true, false] },
  {
    type: 'date',
    values: [
      new Date(0),
      new Date('1969-12-31T23:59:59.999Z'),
      new Date('2026-02-28T12:34:56.789Z'),
    ],
    copy: (value: Date) => new Date(value.getTime()),
  },
  {
    type: 'json',
    values: [
      {},
      [],
      { note: 'canary', nested: [{ a: 1, b: [null, true, ''] }] },
      [1, 'two', { three: 3 }],
      'canary',
      '{"looks":"like json"}',
      '',
      0,
      false,
      { b: 1, a: 2 },
    ],
    copy: (value: unknown) => structuredClone(value),
  },
  {
    type: 'bytes',
    values: [Buffer.alloc(0), Buffer.from([0, 1, 255]), Buffer.from('canary')],
    copy: (value: Buffer) => Buffer.from(value),
  },
];

interface Holder {
  id: number;
  name: string;
  value: unknown;
  other: string;
  version: number;
}

const CASES = SAMPLES.flatMap((sample) =>
  (['text', 'binary'] as const).map((storage) => ({ ...sample, storage })),
).map((sample) => ({ ...sample, schema: holderOf(sample) }));

function holderOf({ type, storage }: { type: EncryptedType; storage: 'text' | 'binary' }) {
  const indexes = type === 'json' ? {} : blindIndexColumns('value', { acknowledgeLeakage: true });
  return new EntitySchema<Holder>({
    name: `Holder_${type}_${storage}`,
    columns: {
      id: { type: Number, primary: true, generated: true },
      name: { type: String },
      value: encryptedColumn({ type, storage, nullable: true }),
      ...indexes,
      other: encryptedColumn(),
      version: { type: Number, version: true },
    } as never,
  });
}

describeEachDatabase('An encrypted value', (database) => {
  const opened = useEncryptedDatabase(database, { entities: CASES.map(({ schema }) => schema) });
  const holders = (schema: EntitySchema<Holder>) => opened.dataSource.getRepository(schema);

  describe.each(CASES)('of type $type stored as $storage', ({ schema, values, copy, storage }) => {
    const indexed = () =>
      opened.dataSource.getMetadata(schema).findColumnWithPropertyName('value_bidx') !== undefined;
    // NaN equals nothing, so it has no token.
    const storable = values.filter((value) => !Number.isNaN(value));

    it('comes back as it went in', async () => {
      for (const value of [...storable, null]) {
        const saved = await holders(schema).save({ name: 'n', value, other: 'canary' });
        expect(saved.value).toBe(value);
        const read = await holders(schema).findOneByOrFail({ id: saved.id });
        expect(read.value).toStrictEqual(value);
        expect(Object.is(read.value, value) || typeof value !== 'number').toBe(true);
      }
      const rows = await storedPlaintexts(opened.dataSource, schema);
      expect(rows.map((row) => row['value'])).toEqual([...storable, null]);
      for (const row of await rawRows(opened.dataSource, schema)) {
        const stored = row['value'];
        if (stored !== null) expect(typeof stored === 'string').toBe(storage === 'text');
      }
    });

    it('is not written again when its entity is saved untouched', async () => {
      await holders(schema).save(storable.map((value) => ({ name: 'n', value, other: 'canary' })));
      const read = await holders(schema).find();
      opened.statements.clear();
      for (const entity of read) await holders(schema).save(entity);
      await holders(schema).save(read);
      expect(opened.statements.writes()).toEqual([]);
      expect(read.every(({ version }) => version === 1)).toBe(true);
    });

    it('is not written again when it is replaced by an equal value', async () => {
      await holders(schema).save(storable.map((value) => ({ name: 'n', value, other: 'canary' })));
      const read = await holders(schema).find();
      for (const entity of read) entity.value = copy?.(entity.value as never) ?? entity.value;
      opened.statements.clear();
      await holders(schema).save(read);
      expect(opened.statements.writes()).toEqual([]);
    });

    it('is not written when another column changes', async () => {
      for (const value of storable) {
        const entity = await holders(schema).save({ name: 'n', value, other: 'canary' });
        const [read] = await holders(schema).findBy({ id: entity.id });
        opened.statements.clear();
        await holders(schema).save(Object.assign(read!, { name: 'changed' }));
        expect(columnsWritten(opened.statements.of('UPDATE'))).toEqual(['name', 'version']);
      }
    });

    it('is written with its index alone when it changes, also from and to NULL', async () => {
      const entity = await holders(schema).save({ name: 'n', value: null, other: 'canary' });
      const own = indexed() ? ['value', 'value_bidx', 'version'] : ['value', 'version'];
      for (const value of [...storable.slice(0, 2), null]) {
        const read = await holders(schema).findOneByOrFail({ id: entity.id });
        opened.statements.clear();
        await holders(schema).save(Object.assign(read, { value }));
        expect(columnsWritten(opened.statements.of('UPDATE'))).toEqual(own);
        expect((await holders(schema).findOneByOrFail({ id: entity.id })).value).toStrictEqual(
          value,
        );
      }
      await storedPlaintexts(opened.dataSource, schema);
    });

    if (schema.options.name.includes('json')) {
      it('is written when it is changed in place', async () => {
        const entity = await holders(schema).save({
          name: 'n',
          value: { a: [1] },
          other: 'canary',
        });
        const read = await holders(schema).findOneByOrFail({ id: entity.id });
        (read.value as { a: number[] }).a.push(2);
        await holders(schema).save(read);
        expect((await holders(schema).findOneByOrFail({ id: entity.id })).value).toEqual({
          a: [1, 2],
        });
      });
    }

    if (schema.options.name.includes('date') || schema.options.name.includes('bytes')) {
      it('is written when it is changed in place', async () => {
        const value = values[1] as Date | Buffer;
        const entity = await holders(schema).save({
          name: 'n',
          value: copy!(value as never),
          other: 'x',
        });
        const read = await holders(schema).findOneByOrFail({ id: entity.id });
        if (Buffer.isBuffer(read.value)) read.value[0] = 77;
        else (read.value as Date).setTime(77);
        await holders(schema).save(read);
        const again = await holders(schema).findOneByOrFail({ id: entity.id });
        expect(again.value).toEqual(read.value);
      });
    }

    it('goes through insert and update as well', async () => {
      for (const value of storable) {
        const { identifiers } = await holders(schema).insert({
          name: 'n',
          value,
          other: 'canary',
        } as never);
        const id = identifiers[0]!['id'] as number;
        expect((await holders(schema).findOneByOrFail({ id })).value).toStrictEqual(value);
        await holders(schema).update(id, { value: null } as never);
        expect((await holders(schema).findOneByOrFail({ id })).value).toBeNull();
        await holders(schema).update(id, { value } as never);
        expect((await holders(schema).findOneByOrFail({ id })).value).toStrictEqual(value);
      }
      const rows = await storedPlaintexts(opened.dataSource, schema);
      expect(rows.map((row) => row['value'])).toEqual(storable);
    });
  });

  it.each(CASES.filter(({ type }) => type === 'number'))(
    'that is not a number ($storage) has no token, so an indexed property refuses it',
    async ({ schema }) => {
      const holder = { name: 'n', value: NaN, other: 'canary' };
      await expect(holders(schema).save(holder)).rejects.toMatchObject({
        code: 'ERR_UNSUPPORTED_VALUE',
      });
      expect(await rawRows(opened.dataSource, schema)).toEqual([]);
    },
  );
});

@Entity()
class Visit {
  @PrimaryGeneratedColumn('uuid') id!: string;
  @Encrypted()
  @BlindIndex()
  @BlindIndex({ name: 'ci', normalize: 'case-insensitive' })
  reason!: string;
  @Encrypted({ nullable: true }) remark!: string | null;
  @Encrypted({ nullable: true, type: 'number' }) pulse!: number | null;
  @Encrypted({ update: false, nullable: true }) once!: string | null;
  @Encrypted({ insert: false, nullable: true }) @BlindIndex() later!: string | null;
  @Column({ type: 'varchar', nullable: true }) room!: string | null;
  @CreateDateColumn() createdAt!: Date;
  @UpdateDateColumn() updatedAt!: Date;
  @VersionColumn() version!: number;
}

describeEachDatabase('Saving an entity', (database) => {
  const opened = useEncryptedDatabase(database, { entities: [Visit] });
  const visits = () => opened.dataSource.getRepository(Visit);

  async function visit(values: Partial<Visit> = {}): Promise<Visit> {
    const { id } = await visits().save({ reason: 'canary Cough', ...values });
    opened.statements.clear();
    return visits().findOneByOrFail({ id });
  }

  it('right after it was saved first writes nothing', async () => {
    const entity = await visits().save(visits().create({ reason: 'canary', remark: 'canary' }));
    opened.statements.clear();
    await visits().save(entity);
    await visits().save(entity, { listeners: false });
    expect(opened.statements.writes()).toEqual([]);
    expect(entity.version).toBe(1);
  });

  it.each([NaN, Infinity, -0, 0.1])(
    'untouched writes nothing when a number is %p',
    async (pulse) => {
      const entity = await visit({ pulse });
      expect(entity.pulse).toBe(pulse);
      await visits().save(entity);
      expect(opened.statements.writes()).toEqual([]);
    },
  );

  it('untouched moves neither version nor update date', async () => {
    const entity = await visit({ remark: 'canary', pulse: 71 });
    const { version, updatedAt } = entity;
    await visits().save(entity);
    await visits().save({ id: entity.id, reason: 'canary Cough', pulse: 71 });
    expect(opened.statements.writes()).toEqual([]);
    expect(await visits().findOneByOrFail({ id: entity.id })).toMatchObject({ version, updatedAt });
  });

  it('writes a changed column with all of its index columns and nothing else', async () => {
    const entity = await visit({ remark: 'canary' });
    entity.reason = 'canary Fever';
    await visits().save(entity);
    expect(columnsWritten(opened.statements.of('UPDATE'))).toEqual([
      'reason',
      'reason_bidx',
      'reason_bidx_ci',
      'updatedAt',
      'version',
    ]);
    expect(entity.version).toBe(2);
  });

  it('writes a column whose change its index cannot see', async () => {
    const entity = await visit();
    entity.reason = 'CANARY cough';
    await visits().save(entity);
    expect((await visits().findOneByOrFail({ id: entity.id })).reason).toBe('CANARY cough');
    await storedPlaintexts(opened.dataSource, Visit);
  });

  it('that was read in part does not touch what was not read', async () => {
    const { id } = await visit({ remark: 'canary' });
    const part = await visits().findOneOrFail({ where: { id }, select: { id: true, room: true } });
    await visits().save(Object.assign(part, { room: '12' }));
    expect(columnsWritten(opened.statements.of('UPDATE'))).toEqual([
      'room',
      'updatedAt',
      'version',
    ]);
    expect(await storedPlaintexts(opened.dataSource, Visit)).toMatchObject([
      { reason: 'canary Cough', remark: 'canary' },
    ]);
  });

  it('whose property became undefined keeps the column', async () => {
    const entity = await visit({ remark: 'canary' });
    Object.assign(entity, { reason: undefined, room: '7' });
    await visits().save(entity);
    expect(await storedPlaintexts(opened.dataSource, Visit)).toMatchObject([
      { reason: 'canary Cough', remark: 'canary' },
    ]);
  });

  it('honours update: false and insert: false', async () => {
    const entity = await visit({ once: 'canary first', later: 'canary early' });
    expect(entity).toMatchObject({ once: 'canary first', later: null });
    Object.assign(entity, { once: 'canary second', later: 'canary late' });
    await visits().save(entity);
    expect(columnsWritten(opened.statements.of('UPDATE'))).toEqual([
      'later',
      'later_bidx',
      'updatedAt',
      'version',
    ]);
    expect(await storedPlaintexts(opened.dataSource, Visit)).toMatchObject([
      { once: 'canary first', later: 'canary late' },
    ]);
  });

  it('update of one property writes it with its index columns only', async () => {
    const { id } = await visit();
    const values: ObjectLiteral = { reason: 'canary Fever' };
    await visits().update(id, values);
    expect(columnsWritten(opened.statements.of('UPDATE'))).toEqual([
      'reason',
      'reason_bidx',
      'reason_bidx_ci',
      'updatedAt',
      'version',
    ]);
    opened.statements.clear();
    await visits().update(id, { remark: 'canary' });
    expect(columnsWritten(opened.statements.of('UPDATE'))).toEqual([
      'remark',
      'updatedAt',
      'version',
    ]);
  });
});

/** Names of the columns in the SET clause of the one UPDATE there should be, sorted. */
function columnsWritten(updates: readonly string[]): string[] {
  expect(updates).toHaveLength(1);
  const [, set = ''] = / SET (.*?) WHERE /s.exec(updates[0] ?? '') ?? [];
  return [...set.matchAll(/"(\w+)" = /g)].map(([, name = '']) => name).sort();
}

/** Its own name in a cycle, and what it throws, are part of the value. */
function cycle(): object {
  const value: { canaryKey?: object } = {};
  value.canaryKey = value;
  return value;
}

describeEachDatabase('A value that cannot be kept exactly', (database) => {
  const opened = useEncryptedDatabase(database, { entities: CASES.map(({ schema }) => schema) });

  it.each<[string, EncryptedType, unknown, unknown]>([
    ['a Map', 'json', { a: {} }, { a: new Map([['canary', 1]]) }],
    ['NaN in JSON', 'json', { a: null }, { a: NaN }],
    ['undefined in a list', 'json', [null], [undefined]],
    ['an invalid date in JSON', 'json', { a: null }, { a: new Date(NaN) }],
    ['a bigint in JSON', 'json', { a: 1 }, { a: 1n }],
    ['a cycle', 'json', { a: 1 }, cycle()],
    [
      'a toJSON that throws',
      'json',
      { a: 1 },
      {
        toJSON: () => {
          throw new Error('canary');
        },
      },
    ],
    ['a numeral', 'number', 5, '5'],
    ['a list of a number', 'number', 5, [5]],
    ['an invalid date', 'date', new Date(0), new Date(NaN)],
  ])(
    '%s is refused by save() of a row that exists, as by all writes',
    async (_what, type, before, after) => {
      const { schema } = CASES.find((each) => each.type === type && each.storage === 'text')!;
      const holders = opened.dataSource.getRepository(schema);
      const { id } = await holders.save({ name: 'n', value: before, other: 'canary' });
      for (const write of [
        async () =>
          holders.save(Object.assign(await holders.findOneByOrFail({ id }), { value: after })),
        () => holders.update({ id }, { value: after as never }),
      ]) {
        const error = await rejection(write);
        expect(error).toMatchObject({
          code: 'ERR_UNSUPPORTED_VALUE',
          entity: schema.options.name,
          property: 'value',
        });
        expectNoCanary(error);
      }
      expect((await holders.findOneByOrFail({ id })).value).toEqual(before);
    },
  );
});
