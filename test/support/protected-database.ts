import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DataSource } from 'typeorm';
import { localKms, withFieldEncryption } from '../../src';
import type { FieldEncryptionOptions, KmsProvider } from '../../src';
import type { CommonOptions, DatabaseKind, TestDatabase } from './databases';

const folder = mkdtempSync(join(tmpdir(), 'field-encryption-key-'));
const keyFile = join(folder, 'kek');
writeFileSync(keyFile, randomBytes(32).toString('hex'), { mode: 0o600 });
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

/** A provider that derives nothing and so costs no time; the same KEK throughout a test file. */
export function keyFileKms(): KmsProvider {
  return localKms({ keyFile });
}

/** A DataSource with field encryption over a database, not yet initialized. */
export function protect(
  { dataSourceOptions }: TestDatabase,
  options: Partial<FieldEncryptionOptions> = {},
  overrides: CommonOptions = {},
): DataSource {
  return withFieldEncryption(new DataSource({ ...dataSourceOptions, ...overrides } as never), {
    kms: keyFileKms(),
    ...options,
  });
}

/** Databases and DataSources of one test, taken away after it. */
export class Cleanup {
  readonly #databases: TestDatabase[] = [];
  readonly #dataSources: DataSource[] = [];

  async create(kind: DatabaseKind, options: CommonOptions = {}): Promise<TestDatabase> {
    const database = await kind.create(options);
    this.#databases.push(database);
    return database;
  }

  add(dataSource: DataSource): DataSource {
    this.#dataSources.push(dataSource);
    return dataSource;
  }

  async run(): Promise<void> {
    for (const dataSource of this.#dataSources.splice(0)) {
      if (dataSource.isInitialized) await dataSource.destroy();
    }
    for (const database of this.#databases.splice(0)) await database.dispose();
  }
}

/** What a promise rejects with; fails when it resolves. */
export async function rejection(work: Promise<unknown> | (() => unknown)): Promise<Error> {
  try {
    await (typeof work === 'function' ? work() : work);
  } catch (error) {
    return error as Error;
  }
  throw new Error('resolved, although it should have been refused');
}
