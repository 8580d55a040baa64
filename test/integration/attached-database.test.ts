import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Column, DataSource, Entity, EntitySchema, PrimaryGeneratedColumn } from 'typeorm';
import { BlindIndex, Encrypted, encryptedColumn, fieldEncryption } from '../../src';
import { status } from '../../src/cli/commands/status';
import type { Session } from '../../src/cli/load/session';
import { keyUses } from '../../src/reencryption/coverage/key-uses';
import { planContract } from '../../src/schema/contract';
import { planExpand } from '../../src/schema/expand';
import { installationOf } from '../../src/typeorm/installation/installations';
import { DATABASES, typeormMajor } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { Cleanup, protect } from '../support/protected-database';
import { storedPlaintexts } from '../support/stored-rows';

const folder = mkdtempSync(join(tmpdir(), 'field-encryption-attached-'));

@Entity({ database: join(folder, 'clinic.db') })
class Guest {
  @PrimaryGeneratedColumn() id!: number;
  @Column() room!: string;
  @Encrypted() @BlindIndex({ unique: true }) email!: string;
  @Encrypted({ type: 'string', nullable: true }) @BlindIndex({ bits: 16 }) phone!: string | null;
}

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

describe.each(DATABASES.filter(({ dialect }) => dialect === 'sqlite'))(
  'An entity of an attached SQLite file ($name)',
  (kind) => {
    const cleanup = new Cleanup();
    let database: TestDatabase;

    beforeEach(async () => {
      rmSync(join(folder, 'clinic.db'), { force: true });
      database = await cleanup.create(kind);
    });
    afterEach(() => cleanup.run());

    const open = (entity: unknown, options: object = {}): Promise<DataSource> =>
      cleanup
        .add(protect(database, options, { entities: [entity] as never, synchronize: false }))
        .initialize();

    it('is written, looked up, rotated, re-encrypted, reindexed and verified', async () => {
      const dataSource = await open(Guest);
      await dataSource.synchronize();
      const guests = dataSource.getRepository(Guest);
      await guests.save({ room: '1', email: 'ada@example.org', phone: '555-0100' });
      const { keys } = fieldEncryption(dataSource);
      await keys.rotate();

      expect(await fieldEncryption(dataSource).reencrypt()).toMatchObject({ changed: 1 });
      expect(await fieldEncryption(dataSource).reindex()).toMatchObject({ failed: 0 });
      expect(await fieldEncryption(dataSource).verify()).toMatchObject({ failed: 0 });
      expect(await fieldEncryption(dataSource).status()).toMatchObject([
        { property: 'email', cleartextRows: 0, keys: [{ version: 2, rows: 1 }] },
        { property: 'phone' },
      ]);
      expect(await guests.findOneBy({ email: 'ada@example.org' })).toMatchObject({ room: '1' });
      expect(await guests.findOneBy({ phone: '555-0100' })).toMatchObject({ room: '1' });
      expect(await storedPlaintexts(dataSource, Guest)).toEqual([
        { email: 'ada@example.org', phone: '555-0100' },
      ]);
    });

    it('counts what needs a root of the blind indexes', async () => {
      const dataSource = await open(Guest);
      await dataSource.synchronize();
      await dataSource.getRepository(Guest).save({ room: '1', email: 'ada@example.org' });
      const { keys } = fieldEncryption(dataSource);
      const [root] = await keys.indexRoots();
      const runner = dataSource.createQueryRunner();
      const key = { id: root?.id ?? '', name: '', purpose: 'index' } as const;
      expect(await keyUses(installationOf(dataSource), runner, key)).toMatchObject([
        { property: 'email', rows: 1, rowsUnderKey: 1 },
        { property: 'phone', rows: 0 },
      ]);
    });

    it('has its root of the blind indexes missed when that is gone', async () => {
      const dataSource = await open(Guest);
      await dataSource.synchronize();
      await dataSource.getRepository(Guest).save({ room: '1', email: 'ada@example.org' });
      await dataSource.query(`DELETE FROM data_keys WHERE purpose = 'index'`);
      await dataSource.destroy();
      const again = await open(Guest);
      await expect(
        again.getRepository(Guest).findOneBy({ email: 'ada@example.org' }),
      ).rejects.toMatchObject({ code: 'ERR_KEY_NOT_FOUND' });
    });

    it('is known to the command line', async () => {
      const dataSource = await open(Guest);
      await dataSource.synchronize();
      const session = {
        installation: installationOf(dataSource),
        fieldEncryption: fieldEncryption(dataSource),
      };
      expect(await status(session as Session)).toMatchObject({
        document: { missingTables: [], columns: [{ property: 'email' }, { property: 'phone' }] },
      });
    });

    it('gets the migrations of a column that becomes encrypted', async () => {
      const columns = { id: { type: 'integer', primary: true } } as const;
      const before = new EntitySchema({
        ...{ name: 'Visitor', tableName: 'visitor', database: join(folder, 'clinic.db') },
        columns: { ...columns, name: { type: 'varchar', length: 20, unique: true } },
      });
      const after = new EntitySchema({
        ...{ name: 'Visitor', tableName: 'visitor', database: join(folder, 'clinic.db') },
        columns: { ...columns, name: encryptedColumn() },
      });
      const plain = await open(before);
      await plain.synchronize();
      await plain.getRepository('Visitor').insert({ id: 1, name: 'Ada' });
      await plain.destroy();

      const during = await open(after, { legacyPlaintext: ['Visitor.name'] });
      const planning = planExpand(installationOf(during), { concurrently: false });
      if (typeormMajor === 0 && kind.type === 'better-sqlite3') {
        // It would move the table to the main file.
        await expect(planning).rejects.toMatchObject({ code: 'ERR_CONFIGURATION' });
        return;
      }
      const { drafts } = await planning;
      for (const { sql } of drafts.flatMap(({ up }) => up)) await during.query(sql);
      expect(await fieldEncryption(during).encrypt()).toMatchObject({ changed: 1 });
      await during.destroy();

      const encrypted = await open(after);
      const contract = await planContract(installationOf(encrypted));
      for (const { sql } of contract.drafts.flatMap(({ up }) => up)) await encrypted.query(sql);
      await expect(encrypted.query(`UPDATE ${table(encrypted)} SET name = 'Bob'`)).rejects.toThrow(
        /CHECK/,
      );
      expect(await storedPlaintexts(encrypted, 'Visitor')).toEqual([{ name: 'Ada' }]);
    });

    function table(dataSource: DataSource): string {
      return dataSource
        .getMetadata('Visitor')
        .tablePath.split('.')
        .map((part) => `"${part}"`)
        .join('.');
    }
  },
);
