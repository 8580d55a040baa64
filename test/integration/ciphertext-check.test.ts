import {
  ChildEntity,
  Column,
  Entity,
  EntitySchema,
  PrimaryColumn,
  PrimaryGeneratedColumn,
  TableInheritance,
} from 'typeorm';
import type { DataSource, EntitySchemaColumnOptions } from 'typeorm';
import { blindIndexColumns, Encrypted, encryptedColumn, fieldEncryption } from '../../src';
import type { FieldEncryptionOptions } from '../../src';
import { openRuns } from '../../src/reencryption/runs/shared-run';
import { planContract } from '../../src/schema/contract';
import { installationOf } from '../../src/typeorm/installation/installations';
import { columnsWithoutCheck } from '../../src/typeorm/installation/missing-checks';
import { describeDiagonal } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { Cleanup, protect } from '../support/protected-database';
import { storedPlaintexts } from '../support/stored-rows';
import { bytesOf, quoted } from '../support/sql-of';

type Columns = Record<string, EntitySchemaColumnOptions>;

/** A table of a text and a binary column, both encrypted. */
const letter = (options: { check?: boolean } = {}, more: Columns = {}): EntitySchema =>
  new EntitySchema({
    name: 'Letter',
    columns: {
      id: { type: 'integer', primary: true },
      place: { type: 'varchar', nullable: true },
      body: encryptedColumn({ nullable: true, ...options }),
      ...blindIndexColumns('body'),
      scan: encryptedColumn({ type: 'bytes', storage: 'binary', nullable: true, ...options }),
      ...more,
    },
  });

@Entity()
@TableInheritance({ column: { type: 'varchar', name: 'kind' } })
class Vehicle {
  @PrimaryGeneratedColumn() id!: number;
  @Encrypted() plate!: string;
}

@ChildEntity()
class Car extends Vehicle {
  @Encrypted() boot!: string;
}

@ChildEntity()
class Van extends Vehicle {
  @Encrypted() load!: string;
}

/** Reads the table of another entity, and writes nothing. */
@Entity('vehicle', { synchronize: false })
class VehicleList {
  @PrimaryColumn() id!: number;
  @Column({ insert: false, update: false }) plate!: string;
}

describeDiagonal('The CHECK constraint against cleartext', (kind) => {
  const cleanup = new Cleanup();
  let database: TestDatabase;

  beforeEach(async () => {
    database = await cleanup.create(kind);
  });
  afterEach(() => cleanup.run());

  const open = (
    entity: EntitySchema,
    options: Partial<FieldEncryptionOptions> = {},
    synchronize = false,
  ): Promise<DataSource> =>
    cleanup.add(protect(database, options, { entities: [entity], synchronize })).initialize();

  const changes = async (dataSource: DataSource): Promise<string[]> => {
    const { upQueries } = await dataSource.driver.createSchemaBuilder().log();
    return upQueries.map(({ query }) => query);
  };

  /** Whether the database lets cleartext into the columns, whoever writes it. */
  async function takesCleartext(dataSource: DataSource): Promise<boolean[]> {
    const bytes = bytesOf(kind, Buffer.of(0xab));
    const taken: boolean[] = [];
    for (const set of [`body = 'in clear'`, `scan = ${bytes}`]) {
      taken.push(
        await dataSource.query(`UPDATE letter SET ${set} WHERE id = 1`).then(
          () => true,
          (error: unknown) => !/CHK_/.test(String(error)),
        ),
      );
    }
    return taken;
  }

  async function fill(dataSource: DataSource): Promise<void> {
    const letters = dataSource.getRepository('Letter');
    await letters.insert({ id: 1, body: 'Dear Ada', scan: Buffer.from([7]) });
    await letters.insert({ id: 2, body: null, scan: null });
  }

  async function run(dataSource: DataSource): Promise<void> {
    const { drafts } = await planContract(installationOf(dataSource));
    for (const { sql } of drafts.flatMap(({ up }) => up)) await dataSource.query(sql);
  }

  const lacking = async (dataSource: DataSource): Promise<string[]> =>
    (await columnsWithoutCheck(installationOf(dataSource))).map(({ policy }) => policy.property);

  it('is there in new tables, and lets ciphertext and NULL pass', async () => {
    const dataSource = await open(letter(), {}, true);
    await fill(dataSource);
    expect(await takesCleartext(dataSource)).toEqual([false, false]);
    expect(await storedPlaintexts(dataSource, 'Letter')).toHaveLength(2);
    expect(await changes(dataSource)).toEqual([]);
    expect(await lacking(dataSource)).toEqual([]);
  });

  it('is in what is generated for a new table', async () => {
    const all = await changes(await open(letter()));
    const created = all.filter((sql) => /["`]letter["`]/.test(sql)).join();
    expect(created.match(/CHECK/g)).toHaveLength(2);
  });

  it('is left out with check: false', async () => {
    const dataSource = await open(letter({ check: false }), {}, true);
    await fill(dataSource);
    expect(await takesCleartext(dataSource)).toEqual([true, true]);
    expect(await lacking(dataSource)).toEqual([]);
    expect((await planContract(installationOf(dataSource))).drafts).toEqual([]);
  });

  it('leaves a table alone that was made without it, until a contract migration adds it', async () => {
    const before = await open(letter({ check: false }), {}, true);
    await fill(before);
    await before.destroy();

    const dataSource = await open(letter());
    expect(await changes(dataSource)).toEqual([]);
    await dataSource.synchronize();
    expect(await takesCleartext(dataSource)).toEqual([true, true]);
    await dataSource.getRepository('Letter').update(1, { body: 'x', scan: Buffer.from([8]) });
    expect(await lacking(dataSource)).toEqual(['body', 'scan']);

    await run(dataSource);
    expect(await takesCleartext(dataSource)).toEqual([false, false]);
    expect(await lacking(dataSource)).toEqual([]);
    expect(await changes(dataSource)).toEqual([]);
    await dataSource.synchronize();
    expect(await takesCleartext(dataSource)).toEqual([false, false]);
  });

  it('is not added along with other changes of such a table', async () => {
    await (await open(letter({ check: false }), {}, true)).destroy();
    const dataSource = await open(letter({}, { year: { type: 'integer', nullable: true } }));
    const statements = await changes(dataSource);
    expect(statements).toContainEqual(expect.stringMatching(/["`]year["`]/));
    expect(statements.join()).not.toContain('CHECK');
  });

  it('is added to such a table by synchronize where check: true asks for it', async () => {
    await (await open(letter({ check: false }), {}, true)).destroy();
    const dataSource = await open(letter({ check: true }), {}, true);
    await fill(dataSource);
    expect(await takesCleartext(dataSource)).toEqual([false, false]);
  });

  it('comes back when the database is dropped and synchronized', async () => {
    await (await open(letter({ check: false }), {}, true)).destroy();
    const dataSource = await open(letter());
    await dataSource.synchronize();
    await dataSource.synchronize(true);
    await fill(dataSource);
    expect(await takesCleartext(dataSource)).toEqual([false, false]);
  });

  it('is none for a property that may hold cleartext, and goes when one may', async () => {
    const before = await open(letter(), {}, true);
    await fill(before);
    await before.destroy();
    const dataSource = await open(letter(), { legacyPlaintext: ['Letter.body'] }, true);
    expect(await takesCleartext(dataSource)).toEqual([true, false]);
    expect(await lacking(dataSource)).toEqual([]);
  });

  it.each([
    ['a single-table inheritance', [Van, Car, Vehicle]],
    ['a table that another entity reads', [Vehicle, Car, Van, VehicleList]],
  ])('holds for the one table of %s', async (_what, entities) => {
    const dataSource = cleanup.add(protect(database, {}, { entities, synchronize: true }));
    await dataSource.initialize();
    await dataSource.getRepository(Car).save({ plate: 'A 1', boot: 'full' });
    await dataSource.getRepository(Van).save({ plate: 'V 1', load: 'sand' });
    for (const column of ['plate', 'boot', 'load']) {
      const sql = `UPDATE vehicle SET ${quoted(kind, column)} = 'clear'`;
      await expect(dataSource.query(sql)).rejects.toThrow(/CHK_/);
    }
    expect(await lacking(dataSource)).toEqual([]);
    expect(await changes(dataSource)).toEqual([]);
  });

  it('is named by a decryption that it stands in the way of, before a row is touched', async () => {
    const before = await open(letter(), {}, true);
    await fill(before);
    await before.destroy();
    const dataSource = await open(letter(), { legacyPlaintext: ['Letter.body'] });
    const stored = await storedPlaintexts(dataSource, 'Letter');
    for (const options of [{}, { dryRun: true }]) {
      await expect(fieldEncryption(dataSource).decrypt(options)).rejects.toMatchObject({
        ...{ code: 'ERR_RUN_PLAN', entity: 'Letter', property: 'body' },
        message: expect.stringMatching(/CHECK constraint "CHK_.*migration:generate/) as string,
      });
    }
    const shared = openRuns(installationOf(dataSource), 'decrypt', {});
    await expect(shared).rejects.toThrow('CHECK constraint');
    expect(await storedPlaintexts(dataSource, 'Letter')).toEqual(stored);
    await dataSource.synchronize();
    expect(await fieldEncryption(dataSource).decrypt()).toMatchObject({ changed: 1, failed: 0 });
  });

  it('stands in the way of no other run', async () => {
    const dataSource = await open(letter(), {}, true);
    await fill(dataSource);
    await fieldEncryption(dataSource).keys.rotate();
    expect(await fieldEncryption(dataSource).reencrypt()).toMatchObject({ changed: 1, failed: 0 });
  });
});
