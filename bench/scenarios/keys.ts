import type { DataSource } from 'typeorm';

import { fieldEncryption } from '../../src';
import type { KmsProvider } from '../../src';
import { createDatabase, dropDatabase, settingName } from '../databases';
import type { Database, DatabaseKind } from '../databases';
import { distantKms, keyFileKms } from '../kms';
import { measure } from '../measure';
import type { Variant } from '../measure';
import type { Result, Scenario, Setting } from '../scenario';

import { addDocuments, openDocuments, SecretDocument } from './documents';

const KMS_LATENCY_MS = 10;

/** The cost of many data keys, in the key table and under the rows. */
export const keys: Scenario = {
  majors: [1],
  databases: ['SQLite file'],
  run: async (setting) => [
    await startUp(setting),
    await rowsOfOwnKey(setting),
    await coldCache(setting),
  ],
};

async function startUp({ database: kind, sizes }: Setting): Promise<Result> {
  const made: Database[] = [];
  for (const count of sizes.dataKeys) made.push(await withDataKeys(kind, count));
  const opened = new Set<DataSource>();
  const variants = made.map((database, i): Variant => ({
    name: sizes.dataKeys[i] === 1 ? '1 data key' : `${String(sizes.dataKeys[i])} data keys`,
    run: async () => {
      const dataSource = await openDocuments(database);
      opened.add(dataSource);
      await fieldEncryption(dataSource).ready();
      await dataSource.getRepository(SecretDocument).findOneByOrFail({});
    },
    prepare: () => closeAll(opened),
  }));
  const measurements = await measure(variants, { items: 1, rounds: sizes.rounds });
  await closeAll(opened);
  for (const database of made) await dropDatabase(database);
  return {
    scenario: 'start-up',
    setting: settingName(kind),
    unit: 'from new DataSource to the first row read',
    measurements,
  };
}

/** Creates a database with one row and many versions of its key. */
async function withDataKeys(kind: DatabaseKind, count: number): Promise<Database> {
  const database = await createDatabase(kind);
  const dataSource = await openDocuments(database);
  await addDocuments(dataSource.getRepository(SecretDocument), 1);
  for (let version = 1; version < count; version++) await fieldEncryption(dataSource).keys.rotate();
  await dataSource.destroy();
  return database;
}

async function rowsOfOwnKey({ database: kind, sizes }: Setting): Promise<Result> {
  const rows = sizes.rowsOfOwnKey;
  const databases = [await underKeys(kind, rows, 1), await underKeys(kind, rows, rows)];
  const dataSources = await Promise.all(databases.map((database) => openDocuments(database)));
  const variants = dataSources.map((dataSource, i) => ({
    name: i === 0 ? 'all under one data key' : 'each under its own data key',
    run: () => dataSource.getRepository(SecretDocument).find(),
  }));
  const measurements = await measure(variants, { items: 1, rounds: sizes.rounds });
  for (const dataSource of dataSources) await dataSource.destroy();
  for (const database of databases) await dropDatabase(database);
  return {
    scenario: 'find() over many data keys',
    setting: settingName(kind),
    unit: `one find() of ${String(rows)} rows, keys in memory`,
    measurements,
  };
}

async function coldCache({ database: kind, sizes }: Setting): Promise<Result> {
  const rows = sizes.rowsOfOwnKey;
  const database = await underKeys(kind, rows, sizes.coldKeys);
  const variants = [
    firstFind('a KMS in the process', database, keyFileKms()),
    firstFind(`a KMS ${String(KMS_LATENCY_MS)} ms away`, database, distantKms(KMS_LATENCY_MS)),
  ];
  const measurements = await measure(variants, { items: 1, rounds: sizes.rounds });
  await dropDatabase(database);
  return {
    scenario: 'find() with a cold key cache',
    setting: settingName(kind),
    unit: `one find() of ${String(rows)} rows under ${String(sizes.coldKeys)} data keys`,
    measurements: measurements.map((measurement) => ({
      ...measurement,
      figures: { 'KMS round-trip times': measurement.medianMs / KMS_LATENCY_MS },
    })),
  };
}

/** Times the first find() of a DataSource that has just started. */
function firstFind(name: string, database: Database, kms: KmsProvider): Variant {
  let dataSource: DataSource | undefined;
  return {
    name,
    prepare: async () => {
      dataSource = await openDocuments(database, kms);
    },
    run: async () => {
      await dataSource?.getRepository(SecretDocument).find();
      await dataSource?.destroy();
    },
  };
}

/** Creates a database with rows that are evenly divided among data keys. */
async function underKeys(kind: DatabaseKind, rows: number, count: number): Promise<Database> {
  const database = await createDatabase(kind);
  const dataSource = await openDocuments(database);
  for (let key = 0; key < count; key++) {
    if (key > 0) await fieldEncryption(dataSource).keys.rotate();
    await addDocuments(dataSource.getRepository(SecretDocument), rows / count);
  }
  await dataSource.destroy();
  return database;
}

async function closeAll(opened: Set<DataSource>): Promise<void> {
  for (const dataSource of opened) await dataSource.destroy();
  opened.clear();
}
