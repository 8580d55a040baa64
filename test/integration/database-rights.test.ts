import { Entity, PrimaryColumn } from 'typeorm';
import type { DataSource, Logger } from 'typeorm';
import { ConfigurationError, Encrypted, fieldEncryption, KeyStateError } from '../../src';
import type { KeyEvent } from '../../src';
import { installationOf } from '../../src/typeorm/installation/installations';
import { DATABASES, describeDatabases } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { DatabaseRole } from '../support/database-role';
import { Cleanup, protect, rejection } from '../support/protected-database';
import { WarningLog } from '../support/statement-log';

@Entity()
class Memo {
  @PrimaryColumn() id!: number;
  @Encrypted() text!: string;
}

/** SQLite has no roles. */
const KINDS = DATABASES.filter(({ dialect }) => dialect !== 'sqlite');

describeDatabases(KINDS, 'A database role', (kind) => {
  const isPostgres = kind.dialect === 'postgres';
  const itOnPostgres = isPostgres ? it : it.skip;
  const cleanup = new Cleanup();
  const roles: DatabaseRole[] = [];
  let database: TestDatabase;
  let owner: DataSource;

  beforeEach(async () => {
    database = await cleanup.create(kind, { entities: [Memo], synchronize: true });
    owner = await cleanup.add(protect(database)).initialize();
    await owner.getRepository(Memo).insert({ id: 1, text: 'one' });
  });

  afterEach(async () => {
    for (const role of roles.splice(0)) await role.drop();
    await cleanup.run();
  });

  /** A DataSource of a role with these rights. */
  async function as(
    rights: readonly string[],
    events: KeyEvent[] = [],
    logger?: Logger,
    preparesAtStart = true,
  ): Promise<DataSource> {
    const grants = rights.map((right) => `GRANT ${right}`);
    const role = await DatabaseRole.create(owner, grants);
    roles.push(role);
    const dataSourceOptions = { ...role.options, ...(logger && { logger }) };
    const onEvent = (event: KeyEvent): unknown => events.push(event);
    const dataSource = cleanup.add(protect({ ...database, dataSourceOptions }, { onEvent }));
    installationOf(dataSource).preparesAtStart = preparesAtStart;
    return dataSource.initialize();
  }

  const onAll = (right: string): string =>
    `${right} ON ${isPostgres ? 'ALL TABLES IN SCHEMA public' : `${String(owner.driver.database)}.*`}`;

  // MariaDB lets it lock rows, which others wait for as in the next test.
  itOnPostgres('that may only read keeps no revocation waiting', async () => {
    const reader = await as([onAll('SELECT')]);
    const runner = reader.createQueryRunner();
    try {
      await runner.startTransaction();
      // What former versions have locked, and all that the role may lock.
      await runner.query(
        "SELECT pg_advisory_xact_lock(hashtext('typeorm-field-encryption:field_encryption_audit'))",
      );
      for (const table of ['field_encryption_audit', 'data_keys']) {
        await runner.query(`LOCK TABLE ${table} IN ACCESS SHARE MODE`);
        expect(
          await rejection(
            runner.query(`SELECT 1`).then(() => reader.query(`SELECT 1 FROM ${table} FOR SHARE`)),
          ),
        ).toMatchObject({ code: '42501' });
      }
      const [key] = await fieldEncryption(owner).keys.list();
      await fieldEncryption(owner).keys.revoke(key?.id ?? '');
    } finally {
      await runner.rollbackTransaction();
      await runner.release();
    }
    expect(await fieldEncryption(owner).audit.verify()).toMatchObject({ ok: true });
  });

  it('that holds what a change of keys needs does so for a limited time', async () => {
    const limit = isPostgres
      ? `ALTER DATABASE ${String(owner.driver.database)} SET lock_timeout = '300ms'`
      : 'SET SESSION innodb_lock_wait_timeout = 1';
    if (isPostgres) await owner.query(limit);
    const operator = await cleanup.add(protect(database, {}, { poolSize: 1 })).initialize();
    if (!isPostgres) await operator.query(limit);
    const runner = owner.createQueryRunner();
    try {
      await runner.startTransaction();
      await runner.query(
        isPostgres ? 'LOCK TABLE data_keys IN SHARE MODE' : 'SELECT * FROM data_keys FOR UPDATE',
      );
      const failure = await rejection(fieldEncryption(operator).keys.rotate());
      expect(failure).toBeInstanceOf(KeyStateError);
      expect(failure).toMatchObject({ retryable: true });
      expect(failure.message).toContain(isPostgres ? 'pg_blocking_pids' : 'SHOW PROCESSLIST');
    } finally {
      await runner.rollbackTransaction();
      await runner.release();
    }
    await fieldEncryption(operator).keys.rotate();
    expect(await fieldEncryption(operator).audit.verify()).toMatchObject({ ok: true });
  });

  it('that writes to the audit log at the same time goes before or after, and breaks no chain', async () => {
    const others = await Promise.all(
      [1, 2, 3].map(() => cleanup.add(protect(database)).initialize()),
    );
    const rotations = others.flatMap((other) =>
      [1, 2].map(() => fieldEncryption(other).keys.rewrap({ force: true })),
    );
    await Promise.all(rotations);
    expect(await fieldEncryption(owner).audit.verify()).toMatchObject({ ok: true });
  });

  it('without rights on a table is told so, and not that the table is missing', async () => {
    const rights = ['SELECT, INSERT, UPDATE ON data_keys', 'SELECT, INSERT, UPDATE ON memo'];
    const ds = await as([...rights, 'SELECT ON field_encryption_approvals']);
    const unapproved = await as(rights);
    const recorded = await as([
      ...rights,
      'SELECT ON field_encryption_approvals',
      'SELECT, INSERT ON field_encryption_audit',
    ]);
    for (const [work, table] of [
      [() => fieldEncryption(unapproved).keys.rotate(), 'field_encryption_approvals'],
      [() => fieldEncryption(ds).keys.rotate(), 'field_encryption_audit'],
      [() => fieldEncryption(ds).audit.list(), 'field_encryption_audit'],
      [() => fieldEncryption(recorded).reencrypt(), 'field_encryption_runs'],
    ] as const) {
      const failure = await rejection(work());
      expect(failure).toBeInstanceOf(ConfigurationError);
      expect(failure.message).toMatch(/(?:role "role_\w+"|database user) has no permission/);
      expect(failure.message).toMatch(
        new RegExp(
          `keys an operator.* let the owner grant what is missing: GRANT SELECT ON ${table} TO `,
        ),
      );
    }
    // Nor does it read the key table without the right to.
    const warnings = new WarningLog();
    const blind = await as(['SELECT ON memo'], [], warnings);
    expect((await rejection(fieldEncryption(blind).ready())).message).toContain('data_keys');
    expect(String(warnings.warnings)).toContain(
      'has no permission to read (SELECT) table data_keys',
    );
  });

  // MySQL has none.
  itOnPostgres('with another search path is told that, and of no right', async () => {
    await owner.query('CREATE SCHEMA elsewhere');
    const name = String(owner.driver.database);
    await owner.query(`ALTER DATABASE ${name} SET search_path = elsewhere, public`);
    const ds = await as(['USAGE ON SCHEMA elsewhere', 'SELECT ON ALL TABLES IN SCHEMA public']);
    const failure = await rejection(fieldEncryption(ds).ready());
    expect(failure).toBeInstanceOf(ConfigurationError);
    expect(failure.message).toContain('data_keys');
    expect(failure.message).toContain('is: elsewhere, public');
    expect(failure.message).not.toContain('GRANT');
  });

  it('that may not write to the audit log is told which right is missing', async () => {
    const ds = await as([onAll('SELECT'), 'INSERT, UPDATE ON data_keys']);
    const failure = await rejection(fieldEncryption(ds).keys.rotate());
    expect(failure).toBeInstanceOf(ConfigurationError);
    expect(failure.message).toMatch(/keys an operator.* GRANT INSERT ON \S*field_encryption_audit/);
  });

  it('that makes no first keys is sent to init by the doctor, and only such a role', async () => {
    await owner.query('DELETE FROM memo');
    await owner.query('DELETE FROM data_keys');
    await owner.query('DELETE FROM field_encryption_audit');
    const remedy = async (dataSource: DataSource): Promise<string | undefined> =>
      (await fieldEncryption(dataSource).doctor()).find(({ code }) => code === 'KEY_MISSING')
        ?.remedy;
    const rights = ['SELECT, INSERT ON memo', 'SELECT ON data_keys'];
    const recording = 'SELECT, INSERT ON field_encryption_audit';
    for (const limited of [rights, [...rights, recording], [...rights, 'INSERT ON data_keys']]) {
      const ds = await as(limited);
      expect(await remedy(ds)).toMatch(/may not make it: run `field-encryption init` as the owner/);
      expect(await rejection(ds.getRepository(Memo).insert({ id: 2, text: 'two' }))).toMatchObject({
        code: 'ERR_CONFIGURATION',
      });
    }
    const maker = await as([...rights, recording, 'INSERT ON data_keys'], [], undefined, false);
    expect(await remedy(maker)).toMatch(/^Nothing has to be done/);
    await maker.getRepository(Memo).insert({ id: 2, text: 'two' });
    expect(await remedy(maker)).toBeUndefined();
  });

  it('that may not change the key table is told which right is missing there', async () => {
    const reader = await as([
      'SELECT ON data_keys',
      'SELECT ON field_encryption_approvals',
      'SELECT, INSERT ON field_encryption_audit',
    ]);
    const failure = await rejection(fieldEncryption(reader).keys.rotate());
    expect(failure).toBeInstanceOf(ConfigurationError);
    expect(failure.message).toMatch(/keys an operator.* GRANT (?:INSERT|UPDATE) ON \S*data_keys/);
  });

  it('that may only read the key table encrypts, and is heard of once for the use counts', async () => {
    const events: KeyEvent[] = [];
    const warnings = new WarningLog();
    const ds = await as(['SELECT ON data_keys', 'SELECT, INSERT ON memo'], events, warnings);
    await ds.getRepository(Memo).insert({ id: 2, text: 'two' });
    expect(await ds.getRepository(Memo).findBy({ id: 2 })).toMatchObject([{ text: 'two' }]);
    await fieldEncryption(ds).keys.list();
    const keyId = (await fieldEncryption(ds).keys.list())[0]?.id;
    await ds.destroy();
    expect(events.filter(({ type }) => type === 'useCountFailed')).toEqual([
      { type: 'useCountFailed', keyId, code: 'ERR_CONFIGURATION' },
    ]);
    const heard = warnings.warnings.filter((warning) => String(warning).includes('use_count'));
    expect(heard).toHaveLength(1);
  });
});
