import { Client } from 'pg';
import type { ClientConfig } from 'pg';
import { DataSource, Entity, PrimaryGeneratedColumn } from 'typeorm';
import { BlindIndex, Encrypted, fieldEncryption, runAs, withFieldEncryption } from '../../src';
import type { KeyEvent } from '../../src';
import { DATABASES, describeDatabases } from '../support/databases';
import { openEncrypted, temporaryKms } from '../support/encrypted-database';
import type { EncryptedDatabase } from '../support/encrypted-database';
import { readPage } from '../support/documentation';
import { DatabaseRole } from '../support/database-role';

@Entity()
class Patient {
  @PrimaryGeneratedColumn()
  id!: number;

  @Encrypted()
  @BlindIndex({ unique: true })
  email!: string;
}

/** SQLite has no roles. */
const KINDS = DATABASES.filter(({ dialect }) => dialect !== 'sqlite');

describeDatabases(KINDS, 'With the rights that the documentation gives', (kind) => {
  const isPostgres = kind.dialect === 'postgres';
  const denied = isPostgres ? 'permission denied' : 'command denied';
  const itOnPostgres = isPostgres ? it : it.skip;
  const { kms, dispose } = temporaryKms();
  const disposals: (() => unknown)[] = [];
  let owned: EncryptedDatabase;
  const encryption = { kms, application: 'clinic' };
  const retention = { keyPolicies: { '*': { retention: { kind: 'untilReencrypted' } } } } as const;

  beforeAll(async () => {
    owned = await openEncrypted(kind, { entities: [Patient] }, encryption);
    // As `init` and the operations before: the audit log has its key.
    await fieldEncryption(owned.dataSource).keys.rotate();
    await owned.dataSource.getRepository(Patient).insert({ email: 'ada@example.org' });
  });
  afterAll(async () => {
    for (const each of disposals.splice(0).reverse()) await each();
    await owned.dispose();
    dispose();
  });

  /** What the page on roles of the database gives one, as `GRANT ... ON ...`. */
  function grantsOf(role: string): string[] {
    const page = isPostgres ? 'docs/operations.md' : 'docs/mysql.md';
    const [, block = ''] = /## (?:Database roles|Roles)\n[\s\S]*?```sql\n([\s\S]*?)```/.exec(
      readPage(page),
    )!;
    const suffix = ` TO ${role};`;
    const grants = block.split('\n').filter((line) => line.endsWith(suffix));
    expect(grants.length).toBeGreaterThan(0);
    const database = String(owned.dataSource.driver.database);
    return grants.map((line) => line.slice(0, -suffix.length).replace('clinic.', `${database}.`));
  }

  async function as(
    role: string,
    options: object = {},
    extra: readonly string[] = [],
  ): Promise<DataSource> {
    const made = await DatabaseRole.create(owned.dataSource, [...grantsOf(role), ...extra]);
    disposals.push(() => made.drop());
    const dataSource = withFieldEncryption(new DataSource(made.options), {
      ...encryption,
      ...options,
    });
    disposals.push(() => (dataSource.isInitialized ? dataSource.destroy() : undefined));
    return dataSource.initialize();
  }

  // MySQL does not know of the lag there, so that all such runs are refused.
  itOnPostgres(
    'a run that is to wait for replicas is refused where it may not see them',
    async () => {
      const { url } = owned.dataSource.options as { url: string };
      const replica = new Client({ connectionString: url, replication: 'true' } as ClientConfig);
      await replica.connect();
      try {
        const limited = { dryRun: true, maxReplicaLagMs: 60_000 };
        const blind = await as('app');
        await expect(fieldEncryption(blind).reencrypt(limited)).rejects.toMatchObject({
          ...{ code: 'ERR_RUN_PLAN' },
          message: expect.stringContaining('GRANT pg_read_all_stats') as string,
        });
        const seeing = await as('app', {}, ['GRANT pg_read_all_stats']);
        expect(await fieldEncryption(seeing).reencrypt(limited)).toMatchObject({ failed: 0 });
      } finally {
        await replica.end();
      }
    },
  );

  it('an application reads, writes and looks up, across a rotation, and changes no key', async () => {
    const dataSource = await as('app');
    const patients = dataSource.getRepository(Patient);
    await fieldEncryption(dataSource).ready();
    const bob = await patients.save({ email: 'bob@example.org' });
    await fieldEncryption(owned.dataSource).keys.rotate();
    await patients.update({ email: 'bob@example.org' }, { email: 'bo@example.org' });
    expect(await patients.findOneBy({ email: 'bo@example.org' })).toEqual({
      id: bob.id,
      email: 'bo@example.org',
    });
    await patients.delete({ email: 'bo@example.org' });
    await expect(fieldEncryption(dataSource).keys.rotate()).rejects.toThrow();
  });

  it('an application records who has read what, and can neither read nor change that', async () => {
    const dataSource = await as('app', { accessLog: {} });
    await runAs({ id: 'ada' }, () => dataSource.getRepository(Patient).find());
    await fieldEncryption(dataSource).accessLog.flush();
    const operator = await as('operator', { accessLog: {} });
    const { ok, entries } = await fieldEncryption(operator).accessLog.list();
    expect([ok, entries.map(({ actor }) => actor)]).toEqual([true, ['ada']]);
    for (const sql of ['SELECT * FROM', 'DELETE FROM']) {
      await expect(dataSource.query(`${sql} field_encryption_access`)).rejects.toThrow(denied);
    }
  });

  it('an application records that a level was wanting, where it may write the audit log', async () => {
    const events: string[] = [];
    const options = {
      access: { levelOf: () => 0 },
      onEvent: ({ type }: KeyEvent) => void events.push(type),
    };
    const denied = async (): Promise<string[]> => {
      const entries = await fieldEncryption(owned.dataSource).audit.list({ outcome: 'denied' });
      return entries.map(({ operation }) => operation);
    };
    const limited = await as('app', options);
    await expect(fieldEncryption(limited).keys.rotate()).rejects.toThrow('access level 2');
    expect([await denied(), events]).toEqual([[], ['auditFailed']]);
    const granted = await as('app', options, ['GRANT SELECT, INSERT ON field_encryption_audit']);
    await expect(fieldEncryption(granted).keys.rotate()).rejects.toThrow('access level 2');
    expect(await denied()).toEqual(['rotate']);
  });

  it('uses of a key are counted where that column may be written, and dropped elsewhere', async () => {
    const { keys } = fieldEncryption(owned.dataSource);
    const { id } = await keys.rotate();
    const uses = async (): Promise<number> =>
      (await keys.list()).find((key) => key.id === id)!.useCount;
    const right = 'GRANT UPDATE (use_count) ON data_keys';
    // On MySQL the page gives it to all, since it takes that to lock the row of a key.
    for (const [extra, counted] of isPostgres
      ? ([
          [[], 0],
          [[right], 1],
        ] as const)
      : ([[[], 1]] as const)) {
      const dataSource = await as('app', {}, extra);
      await dataSource.getRepository(Patient).insert({ email: `${String(counted)}@example.org` });
      await dataSource.destroy();
      expect(await uses()).toBe(counted);
    }
  });

  it('a runner re-encrypts, and changes no key', async () => {
    const dataSource = await as('runner');
    await fieldEncryption(owned.dataSource).keys.rotate();
    const report = await fieldEncryption(dataSource).reencrypt();
    expect(report).toMatchObject({ failed: 0, remaining: 0 });
    expect(report.changed).toBeGreaterThan(0);
    await expect(fieldEncryption(dataSource).keys.rotate()).rejects.toThrow(/no permission/);
  });

  it('an operator rotates, revokes, maintains and verifies the log, and cannot change it', async () => {
    const dataSource = await as('operator', retention);
    const { keys, audit } = fieldEncryption(dataSource);
    const rotated = await keys.rotate();
    await fieldEncryption(owned.dataSource).reencrypt();
    await keys.revoke(rotated.id);
    await fieldEncryption(owned.dataSource).reencrypt();
    expect((await keys.maintain({ graceMs: 0 })).destroyed.length).toBeGreaterThan(0);
    await keys.rewrap({ force: true });
    expect(await audit.verify()).toMatchObject({ ok: true });
    await expect(dataSource.query('DELETE FROM field_encryption_audit')).rejects.toThrow(denied);
  });
});
