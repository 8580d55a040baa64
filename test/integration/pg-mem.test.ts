import type { DataSource } from 'typeorm';
import { encryptedColumn, withFieldEncryption } from '../../src';
import { EntitySchema } from 'typeorm';
import { companion, companionsMissing } from '../support/companions';
import { keyFileKms, rejection } from '../support/protected-database';

const Person = new EntitySchema({
  name: 'Person',
  columns: { id: { type: Number, primary: true, generated: true }, email: encryptedColumn() },
});

(companionsMissing === undefined ? it : it.skip)('pg-mem refuses to initialize', async () => {
  const { newDb, DataType } = require(companion('pg-mem'));
  const database = newDb();
  for (const name of ['version', 'current_database']) {
    const implementation = () => 'PostgreSQL 16';
    database.public.registerFunction({ name, returns: DataType.text, implementation });
  }
  const options = { type: 'postgres', entities: [Person], synchronize: true };
  const dataSource = (await database.adapters.createTypeormDataSource(options)) as DataSource;
  const refused = withFieldEncryption(dataSource, { kms: keyFileKms() }).initialize();
  expect((await rejection(refused)).message).toContain('not implemented by pg-mem');
});
