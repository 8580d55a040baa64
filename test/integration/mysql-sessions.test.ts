import { randomUUID } from 'node:crypto';
import { inspect } from 'node:util';
import * as mysql2 from 'mysql2';
import { createConnection } from 'mysql2/promise';
import { Column, DataSource, Entity, PrimaryColumn, PrimaryGeneratedColumn } from 'typeorm';
import {
  BlindIndex,
  ConfigurationError,
  Encrypted,
  fieldEncryption,
  KeyScope,
  withKeyScope,
  withFieldEncryption,
} from '../../src';
import { DATABASES, describeDatabases } from '../support/databases';
import { startMariadb } from '../support/mariadb-server';
import { Cleanup, keyFileKms, protect, rejection } from '../support/protected-database';
import type { TestServer } from '../support/server-process';

@Entity()
class Patient {
  @PrimaryGeneratedColumn() id!: number;
  @Column({ unique: true }) file!: string;
  @Column({ type: 'int', nullable: true }) room?: number;
  @Encrypted() @BlindIndex({ unique: true }) email!: string;
}

@Entity()
class Chart {
  @PrimaryColumn() id!: number;
  @KeyScope({ kind: 'tenant' }) @Column() tenant!: string;
  @Encrypted() text!: string;
}

const kinds = DATABASES.filter(({ dialect }) => dialect === 'mysql');

describeDatabases(kinds, 'A session', (kind) => {
  const cleanup = new Cleanup();
  afterEach(() => cleanup.run());

  it('is refused whose character set has not all characters', async () => {
    const database = await cleanup.create(kind, { entities: [Patient] });
    const refused = await rejection(
      protect(database, {}, { charset: 'latin1' } as object).initialize(),
    );
    expect(refused).toBeInstanceOf(ConfigurationError);
    expect(refused.message).toMatch(/not utf8mb4.*charset/);
  });

  it('is refused of another package than mysql2', async () => {
    const database = await cleanup.create(kind, { entities: [Patient], synchronize: true });
    const driver = { ...mysql2, createPool: poolAsOfMysql };
    const refused = await rejection(
      protect(database, {}, { driver, connectorPackage: 'mysql' } as object).initialize(),
    );
    expect(refused).toMatchObject({ code: 'ERR_CONFIGURATION' });
    expect(refused.message).toMatch(/another package than mysql2.*connectorPackage: 'mysql2'/);
  });

  describe('of a server of its own', () => {
    let server: TestServer;
    let admin: DataSource;

    beforeAll(async () => {
      server = await startMariadb({ options: ['log-bin'] });
      admin = await new DataSource({ type: 'mariadb', url: server.url }).initialize();
    });
    afterAll(async () => {
      await admin.destroy();
      await server.stop();
    });

    it.each([
      ['sql_mode', '', /sql_mode is not strict.*STRICT_TRANS_TABLES/],
      ['sql_mode', 'STRICT_TRANS_TABLES,NO_BACKSLASH_ESCAPES', /NO_BACKSLASH_ESCAPES/],
      ['sql_mode', 'ORACLE,STRICT_TRANS_TABLES', /sql_mode has ORACLE/],
      ['sql_mode', 'STRICT_ALL_TABLES,PAD_CHAR_TO_FULL_LENGTH', /PAD_CHAR_TO_FULL_LENGTH/],
      ['autocommit', 0, /autocommit is off/],
      ['sql_select_limit', 1000, /sql_select_limit/],
      ['tx_isolation', 'READ-UNCOMMITTED', /not committed.*READ COMMITTED/],
      ['binlog_format', 'STATEMENT', /binlog_format is STATEMENT.*ROW or MIXED/],
    ])('is refused where %s is %p, before anything is written', async (name, value, message) => {
      await admin.query(`SET GLOBAL ${name} = ?`, [value]);
      try {
        const dataSource = withFieldEncryption(
          new DataSource({
            ...{ type: 'mariadb', url: server.url, entities: [Patient], synchronize: true },
          }),
          { kms: keyFileKms() },
        );
        const refused = await rejection(dataSource.initialize());
        expect(refused).toMatchObject({ code: 'ERR_CONFIGURATION' });
        expect(refused.message).toMatch(message);
        expect(await admin.query("SHOW TABLES LIKE 'patient'")).toEqual([]);
      } finally {
        await admin.query(`SET GLOBAL ${name} = DEFAULT`);
      }
    });

    it.each([
      ['character_set_results = latin1', /character_set_results.*utf8mb4/],
      ['character_set_connection = latin1', /not utf8mb4.*charset/],
      ['character_set_results = NULL', undefined],
    ])('is looked at as it is after init_connect: SET %s', async (setting, message) => {
      await admin.query("CREATE USER low@'127.0.0.1' IDENTIFIED BY 'low'");
      await admin.query('CREATE DATABASE low');
      await admin.query("GRANT ALL ON low.* TO low@'127.0.0.1'");
      await admin.query('SET GLOBAL init_connect = ?', [`SET ${setting}`]);
      const url = new URL(server.url);
      [url.username, url.password, url.pathname] = ['low', 'low', 'low'];
      const dataSource = withFieldEncryption(
        new DataSource({ type: 'mariadb', url: url.href, entities: [Patient] }),
        { kms: keyFileKms() },
      );
      try {
        const error = await dataSource.initialize().then(
          () => undefined,
          (e: unknown) => e,
        );
        if (message === undefined) expect(error).toBeUndefined();
        else {
          expect(error).toMatchObject({ code: 'ERR_CONFIGURATION' });
          expect((error as Error).message).toMatch(message);
        }
      } finally {
        if (dataSource.isInitialized) await dataSource.destroy();
        await admin.query('SET GLOBAL init_connect = DEFAULT');
        await admin.query('DROP DATABASE low');
        await admin.query("DROP USER low@'127.0.0.1'");
      }
    });
  });

  it('is refused of a server whose clock stands still during a statement', async () => {
    const server = await startMariadb({ options: ['sysdate-is-now'] });
    try {
      const refused = await rejection(
        withFieldEncryption(
          new DataSource({ type: 'mariadb', url: server.url, entities: [Patient] }),
          { kms: keyFileKms() },
        ).initialize(),
      );
      expect(refused).toMatchObject({ code: 'ERR_CONFIGURATION' });
      expect(refused.message).toMatch(/--sysdate-is-now.*Start the server without it/);
    } finally {
      await server.stop();
    }
  });

  it('is refused for a table without transactions', async () => {
    const database = await cleanup.create(kind, { entities: [Patient], synchronize: true });
    const dataSource = await cleanup.add(protect(database)).initialize();
    await dataSource.query('ALTER TABLE patient ENGINE = Aria');
    await dataSource.destroy();
    const refused = await rejection(cleanup.add(protect(database)).initialize());
    expect(refused).toMatchObject({ code: 'ERR_CONFIGURATION', entity: 'Patient' });
    expect(refused.message).toMatch(/engine Aria.*ALTER TABLE `patient` ENGINE = InnoDB/);
  });

  it('keeps a key that a prepared transaction may have written with, though its session is gone', async () => {
    const database = await cleanup.create(kind, { entities: [Patient], synchronize: true });
    const dataSource = await cleanup.add(protect(database)).initialize();
    const { keys } = fieldEncryption(dataSource);
    await dataSource.manager.save(Patient, { file: '1', email: 'ada@example.org' });
    const [old] = await keys.list();
    await keys.rotate();
    await fieldEncryption(dataSource).reencrypt();
    const xid = `'test-${randomUUID()}'`;
    const { url } = database.dataSourceOptions as { url: string };
    const connection = await createConnection({ uri: url });
    await connection.query(`XA START ${xid}`);
    await connection.query("UPDATE patient SET file = '2'");
    await connection.query(`XA END ${xid}`);
    await connection.query(`XA PREPARE ${xid}`);
    connection.destroy();
    try {
      const refused = await rejection(keys.destroy(String(old?.id), { graceMs: 0, waitMs: 50 }));
      expect(refused).toMatchObject({ code: 'ERR_KEY_STATE', retryable: true });
    } finally {
      await dataSource.query(`XA ROLLBACK ${xid}`);
    }
  });

  it('quotes no value in another language', async () => {
    const options = { entities: [Patient], synchronize: true, poolSize: 1 };
    const database = await cleanup.create(kind, options);
    const dataSource = await cleanup.add(protect(database)).initialize();
    await dataSource.query("SET SESSION lc_messages = 'de_DE'");
    await dataSource.manager.save(Patient, { file: '1', email: 'ada@example.org' });
    const [row] = await dataSource.query<{ email_bidx: string }[]>('SELECT * FROM patient');
    const token = String(row?.email_bidx);
    const twin = { file: '2', email: 'ada@example.org' };
    const failed = await rejection(dataSource.manager.insert(Patient, twin));
    expect(`${failed.message}${String(failed.stack)}`).not.toContain(token);
    const broken = await rejection(dataSource.query('SELECT 1 FROM WHERE x = ?', [token]));
    expect(`${broken.message}${String(broken.stack)}`).not.toContain(token);
  });

  it.each([
    'of TypeORM',
    'SET SESSION TRANSACTION ISOLATION LEVEL READ UNCOMMITTED',
    'set transaction isolation level read /* a */ uncommitted',
    '/* a */ SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED',
    'SET TRANSACTION ISOLATION LEVEL READ /*!50000 UNCOMMITTED */',
    'SET @@tx_isolation = 0',
    "SET @a = 1, @@`transaction_isolation` := CONCAT('READ-', 'UNCOMMITTED')",
  ])('may not read what others have not committed: %s', async (sql) => {
    const database = await cleanup.create(kind, { entities: [Patient], synchronize: true });
    const dataSource = await cleanup.add(protect(database)).initialize();
    const refused = await rejection(() =>
      sql === 'of TypeORM'
        ? dataSource.transaction('READ UNCOMMITTED', () => Promise.resolve())
        : dataSource.query(sql),
    );
    expect(refused).toMatchObject({ code: 'ERR_CONFIGURATION' });
    expect(refused.message).toMatch(/READ UNCOMMITTED is refused/);
    await dataSource.transaction('READ COMMITTED', (manager) =>
      manager.save(Patient, { file: '1', email: 'ada@example.org' }),
    );
    await dataSource.query("SET @@tx_isolation = 'READ-COMMITTED'");
  });

  it.each([
    'SET SESSION tx_isolation = 0',
    'SET @@SESSION.tx_isolation = CONCAT("READ-", "UNCOMMITTED")',
    "EXECUTE IMMEDIATE CONCAT('SET SESSION TRANSACTION ISOLATION LEVEL READ UN', 'COMMITTED')",
  ])('reads no key of others before it is committed: %s', async (sql) => {
    const database = await cleanup.create(kind, { entities: [Chart], synchronize: true });
    const [writer, reader] = [
      await cleanup.add(protect(database)).initialize(),
      await cleanup.add(protect(database)).initialize(),
    ];
    await fieldEncryption(writer).ready();
    await fieldEncryption(reader).ready();
    const [theirs, ours] = [writer.createQueryRunner(), reader.createQueryRunner()];
    try {
      await theirs.startTransaction();
      await theirs.manager.insert(Chart, { id: 1, tenant: 't', text: 'canary' });
      await ours.query(sql);
      await ours.startTransaction();
      const insert = ours.manager.insert(Chart, { id: 2, tenant: 't', text: 'canary' });
      expect(await rejection(insert)).toMatchObject({ code: 'ERR_CONFIGURATION' });
      await ours.rollbackTransaction();
      await ours.query("SET SESSION tx_isolation = 'REPEATABLE-READ'");
      await theirs.rollbackTransaction();
      await ours.manager.insert(Chart, { id: 2, tenant: 't', text: 'canary' });
    } finally {
      await Promise.all([theirs.release(), ours.release()]);
    }
    const found = await withKeyScope({ tenant: 't' }, () => writer.manager.find(Chart));
    expect(found).toMatchObject([{ id: 2, text: 'canary' }]);
  });

  it('may not read what others have not committed, without encrypted columns either', async () => {
    const database = await cleanup.create(kind);
    const dataSource = await cleanup.add(protect(database)).initialize();
    const refused = await rejection(dataSource.transaction('READ UNCOMMITTED', () => done()));
    expect(refused.message).toMatch(/is refused for a DataSource with field encryption:/);
  });

  describe('that fails', () => {
    let dataSource: DataSource;
    let told: string;

    beforeEach(async () => {
      told = '';
      const note = (...what: unknown[]): void => {
        told += inspect(what, { depth: 9 });
      };
      const logger = {
        ...{ logQuery: () => undefined, logQuerySlow: note, logSchemaBuild: note },
        ...{ logMigration: note, log: note, logQueryError: (error: unknown) => note(error) },
      };
      const database = await cleanup.create(kind, {
        ...{ entities: [Patient], synchronize: true, logger },
      });
      dataSource = await cleanup.add(protect(database)).initialize();
      await dataSource.manager.save(Patient, { file: 'F1', email: 'ada@example.org' });
    });

    const failure = async (work: () => Promise<unknown>): Promise<string> => {
      const error = await rejection(work);
      return `${inspect(error, { depth: 9 })}${JSON.stringify(error)}${String(error.stack)}${told}`;
    };

    it('quotes no token, and no parameter in the statement', async () => {
      const { email_bidx: token } = (await dataSource.query('SELECT * FROM patient'))[0];
      const twin = { file: 'F2', email: 'ada@example.org' };
      const shown = await failure(() => dataSource.manager.insert(Patient, twin));
      expect(shown).toMatch(/Duplicate entry '\[left out by field encryption\]' for key/);
      const error = (await rejection(dataSource.manager.insert(Patient, twin))) as Error & {
        sql: string;
      };
      expect(error.sql).not.toContain(token);
      expect(error.message).not.toContain(token);
      expect(told).not.toContain(token);
    });

    it('quotes no value that was meant for another column', async () => {
      const shown = await failure(() =>
        dataSource.query('INSERT INTO patient (file, room, email) VALUES (?, ?, ?)', [
          ...['F3', 'canary', 'AQ'],
        ]),
      );
      expect(shown).toMatch(/Incorrect integer value/);
      const copied = await failure(() =>
        dataSource.query(
          'CREATE TABLE copy (email VARCHAR(200) PRIMARY KEY) SELECT email FROM patient UNION ALL SELECT email FROM patient',
        ),
      );
      expect(copied).toMatch(/Duplicate entry '\[left out/);
    });

    it.each([
      'SELECT GET_LOCK(REPEAT(file, 40), 0) FROM patient',
      ...[
        'time_zone',
        'sql_mode',
        'lc_time_names',
        'character_set_client',
        'collation_connection',
      ].map((name) => `SET ${name} = (SELECT file FROM patient)`),
      'SET default_storage_engine = (SELECT file FROM patient)',
      'SET tx_isolation = (SELECT file FROM patient)',
    ])('quotes no cell as the value of a setting or a name: %s', async (sql) => {
      await dataSource.query("UPDATE patient SET file = 'canary'");
      expect(await failure(() => dataSource.query(sql))).not.toContain('canary');
    });

    it('still quotes a value of a column without secrets', async () => {
      const twin = { file: 'F1', email: 'eve@example.org' };
      expect(await failure(() => dataSource.manager.insert(Patient, twin))).toMatch(
        /Duplicate entry 'F1' for key/,
      );
    });
  });
});

/** A pool whose connections have no prepared statements, as those of the package `mysql`. */
function poolAsOfMysql(options: mysql2.PoolOptions): mysql2.Pool {
  const pool = mysql2.createPool(options);
  pool.on('connection', (connection) => Object.assign(connection, { execute: undefined }));
  return pool;
}

function done(): Promise<void> {
  return Promise.resolve();
}
