import { DataSource, EntitySchema } from 'typeorm';
import {
  encryptedColumn,
  fieldEncryption,
  fieldEncryptionMigrations,
  withFieldEncryption,
} from '../../src';
import { describeDiagonal } from '../support/databases';
import { fastLocalKms } from '../support/key-fixtures';

const Patient = new EntitySchema<{ id: number; ssn: string }>({
  name: 'Patient',
  columns: { id: { type: Number, primary: true }, ssn: encryptedColumn() },
});

class Earlier1600000000000 {
  static reverted = 0;
  readonly name = 'Earlier1600000000000';
  up(): Promise<void> {
    return Promise.resolve();
  }
  down(): Promise<void> {
    Earlier1600000000000.reverted += 1;
    return Promise.resolve();
  }
}

describeDiagonal('migration:revert behind the migrations of the library', (kind) => {
  it('says how to get at earlier ones, and keeps the keys then', async () => {
    const database = await kind.create({ entities: [Patient] });
    const open = (migrations: DataSource['options']['migrations']): Promise<DataSource> =>
      withFieldEncryption(
        new DataSource({ ...database.dataSourceOptions, migrations, migrationsRun: true } as never),
        { kms: fastLocalKms('the passphrase of the test') },
      ).initialize();
    await (await open([Earlier1600000000000])).destroy();
    const dataSource = await open([Earlier1600000000000, ...fieldEncryptionMigrations]);
    await fieldEncryption(dataSource).ready();

    // The tables of signing keys, of approvals, of the access log and of the keys of scopes are empty.
    for (let empty = 0; empty < 4; empty += 1) await dataSource.undoLastMigration();
    await expect(dataSource.undoLastMigration()).rejects.toThrow(
      /keys with an epoch.* delete the records of fieldEncryptionMigrations from migrations/,
    );
    const names = fieldEncryptionMigrations.map((migration) => `'${migration.name}'`).join();
    await dataSource.query(`DELETE FROM migrations WHERE name IN (${names})`);
    await dataSource.undoLastMigration();
    expect(Earlier1600000000000.reverted).toBe(1);
    await dataSource.runMigrations();
    expect(await fieldEncryption(dataSource).keys.list()).toHaveLength(1);

    Earlier1600000000000.reverted = 0;
    await dataSource.destroy();
    await database.dispose();
  });
});
