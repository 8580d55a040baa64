import { Column, DataSource, Entity, PrimaryColumn } from 'typeorm';
import type { DataSourceOptions, EntityManager } from 'typeorm';
import { BlindIndex, Encrypted, fieldEncryption, KeyScope } from '../../src';
import { DATABASES, describeDatabases } from '../support/databases';
import { startMariadb } from '../support/mariadb-server';
import { Cleanup, protect, rejection } from '../support/protected-database';
import type { TestServer } from '../support/server-process';

@Entity()
class Patient {
  @PrimaryColumn() id!: number;
  @Column({ default: 0 }) visits!: number;
  @Encrypted() @BlindIndex({ unique: true }) email!: string;
}

@Entity()
class Note {
  @PrimaryColumn() id!: number;
  @KeyScope({ kind: 'tenant' }) @Column() tenant!: string;
  @Encrypted() text!: string;
}

const ROWS = 120;
const CHANGED = { code: 'ER_CHECKREAD' };

/** The setting, which is the default from MariaDB 11.6.2 on, is one of the server: it gets one of its own. */
describeDatabases(
  DATABASES.filter(({ dialect }) => dialect === 'mysql'),
  'A server with innodb_snapshot_isolation',
  () => {
    const cleanup = new Cleanup();
    let server: TestServer;
    let admin: DataSource;
    let one: DataSource;
    let other: DataSource;

    beforeAll(async () => {
      server = await startMariadb();
      admin = await new DataSource({ type: 'mariadb', url: server.url }).initialize();
      await admin.query('SET GLOBAL innodb_snapshot_isolation = ON');
    });
    afterAll(async () => {
      await admin.destroy();
      await server.stop();
    });

    beforeEach(async () => {
      await admin.query('CREATE DATABASE snapshots');
      const url = new URL(server.url);
      url.pathname = 'snapshots';
      const dataSourceOptions: DataSourceOptions = {
        ...{ type: 'mariadb', url: url.href, entities: [Patient, Note], synchronize: true },
      };
      const database = { dataSourceOptions, dispose: () => Promise.resolve() };
      const open = async () => cleanup.add(await protect(database).initialize());
      [one, other] = [await open(), await open()];
    });
    afterEach(async () => {
      await cleanup.run();
      await admin.query('DROP DATABASE snapshots');
    });

    /** A transaction of the application, which begins it again when a row has changed. */
    async function again(work: (manager: EntityManager) => Promise<void>): Promise<number> {
      for (let failures = 0; ; failures += 1) {
        try {
          await other.transaction(work);
          return failures;
        } catch (error) {
          expect((error as { driverError?: unknown }).driverError).toMatchObject(CHANGED);
        }
      }
    }

    it('re-encrypts all rows while others write them', async () => {
      const numbers = Array.from({ length: ROWS }, (_, i) => i + 1);
      const email = (id: number): string => `canary${String(id)}@example.org`;
      await one.manager.insert(
        Patient,
        numbers.map((id) => ({ id, email: email(id) })),
      );
      const { keys } = fieldEncryption(one);
      const [old] = (await keys.list()).filter(({ name }) => name === 'default');
      await keys.rotate();

      const run = { isOver: false };
      const writing = (async () => {
        let count = 0;
        for (; !run.isOver; count += 1) {
          const id = 1 + (count % ROWS);
          await again(async (manager) => {
            const { visits } = await manager.findOneByOrFail(Patient, { id });
            await manager.update(Patient, { id }, { visits: visits + 1, email: `n${email(id)}` });
            await manager.update(Patient, { id }, { email: email(id) });
          });
        }
        return count;
      })();
      const report = await fieldEncryption(one).reencrypt({ batchSize: 5 });
      run.isOver = true;
      const written = await writing;

      expect(report).toMatchObject({ failed: 0 });
      // The writer may have had the old key in memory until the end.
      expect(await fieldEncryption(one).reencrypt()).toMatchObject({ failed: 0, remaining: 0 });
      const patients = await one.manager.find(Patient, { order: { id: 'ASC' } });
      expect(patients.map((patient) => patient.email)).toEqual(numbers.map(email));
      expect(patients.reduce((sum, { visits }) => sum + visits, 0)).toBe(written);
      expect(await keys.destroy(String(old?.id), { graceMs: 0 })).toBeDefined();
    });

    it('lets many processes change keys at once', async () => {
      await fieldEncryption(one).ready();
      const rotations = Array.from({ length: 8 }, (_, i) =>
        fieldEncryption(i % 2 === 0 ? one : other).keys.rotate(),
      );
      const newest = Math.max(...(await Promise.all(rotations)).map(({ version }) => version));
      const { keys, audit } = fieldEncryption(one);
      const versions = (await keys.list()).filter(({ name }) => name === 'default');
      expect(versions).toHaveLength(newest);
      expect(versions.filter(({ state }) => state === 'active')).toMatchObject([
        { version: newest },
      ]);
      expect(await audit.verify()).toMatchObject({ ok: true });
    });

    it('fails a transaction that makes a key after others did as a whole, and lets it begin again', async () => {
      const note = (id: number, tenant: string): Note => ({ id, tenant, text: `canary ${tenant}` });
      await one.manager.insert(Note, note(1, 'first'));
      const write = async (
        manager: EntityManager,
        meanwhile?: () => Promise<unknown>,
      ): Promise<void> => {
        await manager.find(Note);
        await manager.insert(Patient, { id: 1, email: 'canary@example.org' });
        await meanwhile?.();
        await manager.insert(Note, note(3, 'second'));
      };
      const meanwhile = () => one.manager.insert(Note, note(2, 'second'));
      const failed = await rejection(other.transaction((manager) => write(manager, meanwhile)));
      expect(failed).toMatchObject({ driverError: CHANGED });
      expect(JSON.stringify(failed)).not.toMatch(/canary|second/);
      expect(await one.manager.count(Patient)).toBe(0);

      await other.transaction((manager) => write(manager));
      expect(await one.manager.find(Note, { order: { id: 'ASC' } })).toMatchObject([
        { text: 'canary first' },
        { text: 'canary second' },
        { text: 'canary second' },
      ]);
      expect(await fieldEncryption(one).audit.verify()).toMatchObject({ ok: true });
    });

    it('fails none that reads what others have committed', async () => {
      const tenants = Array.from({ length: 12 }, (_, i) => `tenant ${String(i)}`);
      await Promise.all(
        tenants.map((tenant, id) =>
          (id % 2 === 0 ? one : other).transaction('READ COMMITTED', async (manager) => {
            await manager.find(Note);
            await manager.insert(Note, { id, tenant, text: 'canary' });
            await manager.insert(Note, { id: 100 + id, tenant: 'shared', text: 'canary' });
          }),
        ),
      );
      expect(await one.manager.countBy(Note, { tenant: 'shared' })).toBe(12);
      expect(await fieldEncryption(one).audit.verify()).toMatchObject({ ok: true });
    });
  },
);
