import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { DataSource } from 'typeorm';
import { localKms, withFieldEncryption } from '../../src';
import type { FieldEncryptionOptions, KmsProvider } from '../../src';
import type { CommonOptions, DatabaseKind, DialectName } from './databases';
import { OWN_TABLES } from '../../src/typeorm/tables/own-tables';
import { StatementLog } from './statement-log';
import { tableName } from './stored-rows';

/** Marks plaintexts: it must not appear in a statement, whatever a test does. */
const CANARY = 'canary';

/** Options of a DataSource beside the database: the common ones, and any that a test is about. */
export type OpenOptions = CommonOptions & Record<string, unknown>;

export interface EncryptedDatabase {
  readonly dataSource: DataSource;
  readonly statements: StatementLog;
  /** Destroys the DataSource and removes the database. */
  dispose(): Promise<void>;
}

/** A KMS that costs no key derivation. `dispose` removes its key file. */
export function temporaryKms(): { kms: KmsProvider; dispose: () => void } {
  const folder = mkdtempSync(join(tmpdir(), 'field-encryption-key-'));
  const keyFile = join(folder, 'kek');
  writeFileSync(keyFile, randomBytes(32).toString('hex'), { mode: 0o600 });
  return {
    kms: localKms({ keyFile }),
    dispose: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** A fresh database with an initialized DataSource that encrypts. */
export async function openEncrypted(
  database: DatabaseKind,
  options: OpenOptions,
  encryption: Partial<FieldEncryptionOptions> = {},
): Promise<EncryptedDatabase> {
  const statements = new StatementLog();
  const { kms, dispose } = temporaryKms();
  const { dataSourceOptions, ...created } = await database.create({
    synchronize: true,
    logger: statements,
    ...options,
  });
  const dataSource = withFieldEncryption(new DataSource(dataSourceOptions), { kms, ...encryption });
  await dataSource.initialize();
  // Nobody needs the file after a crash.
  if (database.dialect === 'sqlite') await dataSource.query('PRAGMA synchronous = OFF');
  return {
    dataSource,
    statements,
    dispose: async () => {
      if (dataSource.isInitialized) await dataSource.destroy();
      await created.dispose();
      dispose();
    },
  };
}

/**
 * One encrypted database for all tests of a describe block, emptied before each of them. After each
 * test, no statement may have carried the {@link CANARY}.
 */
export function useEncryptedDatabase(
  database: DatabaseKind,
  options: OpenOptions,
  encryption: Partial<FieldEncryptionOptions> = {},
): { readonly dataSource: DataSource; readonly statements: StatementLog } {
  let opened: EncryptedDatabase | undefined;
  beforeAll(async () => {
    opened = await openEncrypted(database, options, encryption);
  });
  beforeEach(async () => {
    await emptyTables(current().dataSource, database.dialect);
    current().statements.clear();
  });
  afterEach(() => {
    expectNoCanary(current().statements.statements);
  });
  afterAll(async () => {
    await opened?.dispose();
  });

  function current(): EncryptedDatabase {
    if (opened === undefined) throw new Error('The database did not open.');
    return opened;
  }
  return {
    get dataSource() {
      return current().dataSource;
    },
    get statements() {
      return current().statements;
    },
  };
}

/** No form in which a value is shown or sent may hold a plaintext. */
export function expectNoCanary(shown: unknown): void {
  expect(inspect(shown, { depth: 10, maxArrayLength: null, maxStringLength: null })).not.toMatch(
    new RegExp(CANARY, 'i'),
  );
}

/** The tables of the keys, which processes have in memory. */
const KEPT = ['FieldEncryptionDataKey', 'FieldEncryptionScopeKey'];

/** Deletes every row but the keys. */
async function emptyTables(dataSource: DataSource, dialect: DialectName): Promise<void> {
  const own = OWN_TABLES.map(({ schema }) => dataSource.getMetadata(schema));
  const tables = [...dataSource.entityMetadatas, ...own]
    .filter(({ name, tableType }) => !KEPT.includes(name) && tableType !== 'view')
    .map(tableName);
  const unique = [...new Set(tables)];
  if (unique.length === 0) return;
  const runner = dataSource.createQueryRunner();
  try {
    for (const statement of emptying(dialect, unique)) await runner.query(statement);
  } finally {
    await runner.release();
  }
}

function emptying(dialect: DialectName, tables: readonly string[]): string[] {
  const deletes = tables.map((table) => `DELETE FROM ${table}`);
  switch (dialect) {
    case 'postgres':
      return [`TRUNCATE ${tables.join(', ')} RESTART IDENTITY CASCADE`];
    case 'sqlite':
      return ['PRAGMA foreign_keys = OFF', ...deletes, 'PRAGMA foreign_keys = ON'];
    case 'mysql':
      return ['SET foreign_key_checks = 0', ...deletes, 'SET foreign_key_checks = 1'];
  }
}
