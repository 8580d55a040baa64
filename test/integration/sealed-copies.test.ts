import { IsString, Length, Matches, ValidateNested } from 'class-validator';
import { inspect } from 'node:util';
import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { DataSource, DeepPartial, Repository } from 'typeorm';
import { BlindIndex, Encrypted, fieldEncryption, Sealed, UnsupportedValueError } from '../../src';
import { describeEachDatabase } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { Cleanup, protect, rejection } from '../support/protected-database';

class Contact {
  @Encrypted({ read: 'sealed', type: 'string' })
  @BlindIndex()
  @IsString()
  @Length(3, 40)
  @Matches(/^canary/)
  phone!: Sealed<string> | string;
}

type Findings = Readonly<Record<string, unknown>>;

@Entity()
class Chart {
  @PrimaryColumn('bigint') id!: string;
  @Column() ward!: string;
  @Encrypted({ read: 'sealed', type: 'json' }) findings!: Sealed<Findings> | Findings;
  @Encrypted({ read: 'sealed', type: 'date' }) born!: Sealed<Date> | Date;
  @Encrypted({ read: 'sealed', type: 'string', nullable: true, select: false, bindTo: ['id'] })
  note!: Sealed<string> | string | null;
  @Encrypted({ type: 'json' }) history!: string[];
  @Column(() => Contact) @ValidateNested() contact!: Contact;
}

const BORN = new Date('1815-12-10T00:00:00Z');

/** As lodash's `cloneDeep` and class-transformer's `instanceToInstance` copy an object. */
function clone(value: object): object {
  return Object.assign(Object.create(Object.getPrototypeOf(value) as object) as object, value);
}

const constructed = (value: object): object =>
  Object.assign(new (value.constructor as new () => object)(), value);

/** What becomes of sealed values in the hands of others. */
const COPIES: readonly (readonly [string, (value: object) => unknown])[] = [
  ['a clone', clone],
  ['a newly constructed one', constructed],
  ['a structured clone', (value) => structuredClone(value)],
  ['a spread', (value) => ({ ...value })],
  ['the JSON of a spread', (value) => JSON.parse(JSON.stringify({ ...value })) as unknown],
  ['its JSON', (value) => JSON.parse(JSON.stringify(value)) as unknown],
  ['a value that holds it', (value) => ({ first: [value] })],
  ['a value that holds a clone', (value) => ({ first: clone(value) })],
  ['a value that holds its JSON', (value) => JSON.parse(JSON.stringify({ a: [value] })) as unknown],
];

describeEachDatabase('A copy of a sealed value', (kind) => {
  const cleanup = new Cleanup();
  let database: TestDatabase;
  let dataSource: DataSource;
  let charts: Repository<Chart>;

  beforeEach(async () => {
    database = await cleanup.create(kind, { entities: [Chart], synchronize: true });
    dataSource = await cleanup.add(protect(database, { validate: true })).initialize();
    charts = dataSource.getRepository(Chart);
    await charts.insert([chart('1'), chart('2')]);
  });
  afterEach(() => cleanup.run());

  function chart(id: string): Chart {
    return charts.create({
      ...{ id, ward: 'A', born: BORN, note: `canary note ${id}`, history: [] },
      ...{ findings: { canary: id }, contact: { phone: `canary ${id}` } },
    } as DeepPartial<Chart>);
  }

  const rows = (): Promise<unknown> => dataSource.query('SELECT * FROM chart ORDER BY id');
  const read = (): Promise<Chart> => charts.findOneByOrFail({ id: '1' });
  const withNote = (): Promise<Chart> =>
    charts.createQueryBuilder('c').addSelect('c.note').where('c.id = 1').getOneOrFail();

  async function expectRefused(write: () => Promise<unknown>, property: string): Promise<void> {
    const before = await rows();
    const error = await rejection(write);
    expect(error).toBeInstanceOf(UnsupportedValueError);
    expect(error).toMatchObject({ entity: 'Chart', property });
    expect(error.message).toMatch(/sealed/);
    expect(error.message + inspect(error)).not.toContain('canary');
    expect(await rows()).toEqual(before);
  }

  it.each(COPIES)('is refused where it is written: %s', async (_, copied) => {
    const found = await read();
    const findings = copied(found.findings) as Findings;
    await expectRefused(() => charts.save(Object.assign(found, { findings })), 'findings');
    await expectRefused(() => charts.save({ id: '1', findings }), 'findings');
    await expectRefused(() => charts.update({ id: '1' }, { findings }), 'findings');
    await expectRefused(() => charts.insert(Object.assign(chart('3'), { findings })), 'findings');
    const upserted = Object.assign(chart('1'), { findings });
    await expectRefused(() => charts.upsert(upserted, ['id']), 'findings');
    const alone = (): Promise<unknown> =>
      fieldEncryption(dataSource).encryptValue(Chart, 'findings', findings);
    await expectRefused(alone, 'findings');
  });

  it.each([
    ['itself', (value: object) => value],
    ['within an object', (value: object) => ({ value })],
    ['as a clone', (value: object) => [clone(value)]],
  ])('is refused in the JSON of a column that is not sealed: %s', async (_, copied) => {
    const found = await read();
    const history = copied(found.findings) as string[];
    await expectRefused(() => charts.save(Object.assign(found, { history })), 'history');
    await expectRefused(() => charts.update({ id: '1' }, { history }), 'history');
  });

  it('of another type is refused, and so is the mask', async () => {
    const found = await read();
    const born = found.born as Sealed<Date>;
    for (const value of [clone(born), constructed(born), '[sealed]', (await read()).findings]) {
      await expectRefused(() => charts.save(Object.assign(found, { born: value })), 'born');
    }
  });

  it('says that it is a mask rather than that it breaks the rules', async () => {
    for (const copied of [String, structuredClone] as ((value: unknown) => unknown)[]) {
      const found = await read();
      found.contact.phone = copied(found.contact.phone) as string;
      await expectRefused(() => charts.save(found), 'contact.phone');
    }
  });

  it('is refused in an embedded class, which has its rules', async () => {
    const found = await read();
    found.ward = 'B';
    await charts.save(found);
    expect(await (found.contact.phone as Sealed<string>).reveal()).toBe('canary 1');
    const phone = clone(found.contact.phone as Sealed<string>) as never;
    const copied = (): Promise<unknown> => charts.save({ id: '1', contact: { phone } });
    await expectRefused(copied, 'contact.phone');
    found.contact.phone = 'x';
    expect((await rejection(charts.save(found))).name).toBe('PlaintextValidationError');
  });

  it('reveals nothing', async () => {
    const { findings } = await read();
    for (const copy of [clone, constructed].map((copied) => copied(findings) as Sealed)) {
      expect(await rejection(copy.reveal())).toBeInstanceOf(UnsupportedValueError);
      expect(inspect(copy, { customInspect: false })).not.toContain('canary');
      expect(String(copy)).toBe('[sealed]');
    }
  });

  it('differs from the value itself, which a merge or create() hands on', async () => {
    const before = await rows();
    const found = await read();
    await charts.save(charts.create(found));
    await charts.save(charts.merge(charts.create({ id: '1' }), found));
    await charts.save(Object.fromEntries(Object.entries(found)));
    expect(await rows()).toEqual(before);
  });

  it('is not needed to save a column that TypeORM leaves out, or that was emptied meanwhile', async () => {
    const found = await withNote();
    expect(found.note).toBeInstanceOf(Sealed);
    const before = await rows();
    await charts.save(found);
    expect(await rows()).toEqual(before);
    await charts.save(Object.assign(found, { ward: 'B' }));
    expect(await (found.note as Sealed<string>).reveal()).toBe('canary note 1');
    await charts.update({ id: '1' }, { note: null });
    await charts.save(Object.assign(found, { ward: 'C' }));
    expect(await withNote()).toMatchObject({ note: null, ward: 'C' });
    const other = await charts.findOneByOrFail({ id: '2' });
    const { note } = found;
    await expectRefused(() => charts.save(Object.assign(other, { note })), 'note');
  });

  it('is what a value of another database is, though its row has the same key', async () => {
    const elsewhere = await cleanup.create(kind, { entities: [Chart], synchronize: true });
    const other = await cleanup.add(protect(elsewhere)).initialize();
    await other.getRepository(Chart).insert(chart('1'));
    const { findings } = await other.getRepository(Chart).findOneByOrFail({ id: '1' });
    const found = await read();
    await expectRefused(() => charts.save(Object.assign(found, { findings })), 'findings');
  });

  it('and the value itself are nothing to look up', async () => {
    const { contact } = await read();
    const phones = [contact.phone, clone(contact.phone as Sealed<string>)] as string[];
    for (const phone of phones) {
      await expectRefused(() => charts.findBy({ contact: { phone } }), 'contact.phone');
    }
  });
});
