import { randomUUID } from 'node:crypto';
import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { DataSource } from 'typeorm';
import { BlindIndex, Encrypted, KeyScope } from '../../src';
import type { KmsProvider } from '../../src';
import { describeDiagonal } from '../support/databases';
import { StatementLog } from '../support/statement-log';
import { Cleanup, keyFileKms, protect } from '../support/protected-database';
import { watchedKms } from '../support/watched-kms';

@Entity()
class Patient {
  @PrimaryColumn('uuid') id: string = randomUUID();
  @KeyScope({ kind: 'tenant' }) @Column() tenantId!: number;
  @Encrypted() ssn!: string;
  @Encrypted({ nullable: true }) @BlindIndex() email?: string | null;
}

function patient(tenantId: number): Patient {
  return Object.assign(new Patient(), { tenantId, ssn: `canary ${String(tenantId)}` });
}

/** A KMS that counts what it is asked. */
function counted(kms: KmsProvider): { kms: KmsProvider; calls: string[] } {
  const calls: string[] = [];
  return { kms: watchedKms(kms, (operation) => calls.push(operation)), calls };
}

/** The same with 100,000 takes some minutes: SCOPES=100000. */
const MANY = Number(process.env['SCOPES'] ?? 2000);

jest.setTimeout(MANY > 10_000 ? 900_000 : 60_000);

describeDiagonal('Rows of a great many scopes', (database) => {
  const cleanup = new Cleanup();
  afterEach(() => cleanup.run());

  it('are read with two queries for keys and one call of the KMS', async () => {
    const created = await cleanup.create(database, { entities: [Patient], synchronize: true });
    const writer = cleanup.add(await protect(created).initialize());
    const rows = Array.from({ length: 1000 }, (_, i) => patient(i));
    await writer.manager.insert(Patient, rows);

    const statements = new StatementLog();
    const { kms, calls } = counted(keyFileKms());
    const options = { logger: statements, logging: true } as const;
    const reader = cleanup.add(await protect(created, { kms }, options).initialize());
    calls.length = 0;
    await readAll(reader, 1000);
    const cold = statements.of('SELECT').filter((sql) => sql.includes('"ssn"'));
    expect(cold).toHaveLength(1);

    // As on the first read of a process that has prepared nothing.
    await reader.destroy();
    await reader.initialize();
    statements.clear();
    calls.length = 0;
    await readAll(reader, 1000);
    const queries = statements.of().filter((sql) => !sql.includes('"ssn"'));
    expect(queries.length).toBeLessThanOrEqual(2);
    expect(calls.length).toBeLessThanOrEqual(1);
    statements.clear();
    await readAll(reader, 1000);
    expect(statements.of()).toHaveLength(1);
  });

  it('are written with as many, and one statement for every 500 new keys', async () => {
    const statements = new StatementLog();
    const { kms, calls } = counted(keyFileKms());
    const created = await cleanup.create(database, { entities: [Patient], synchronize: true });
    const options = { logger: statements, logging: true } as const;
    const writer = cleanup.add(await protect(created, { kms }, options).initialize());
    await writer.manager.insert(Patient, patient(-1));
    statements.clear();
    calls.length = 0;
    await writer.manager.insert(
      Patient,
      Array.from({ length: 1000 }, (_, i) => patient(i)),
    );
    const inserts = statements.of('INSERT').filter((sql) => sql.includes('scope_keys'));
    // Each scope has a data key and an index key.
    expect(inserts).toHaveLength(4);
    expect(calls).toEqual([]);
    statements.clear();
    await writer.manager.insert(
      Patient,
      Array.from({ length: 1000 }, (_, i) => patient(i)),
    );
    expect(statements.of().filter((sql) => sql.includes('scope_keys'))).toEqual([]);
  });

  it('cost a process that starts, and one that looks a row up, no more than those of ten', async () => {
    /** The statements of a process with so many scopes: to start, to look a row up, and to write one. */
    async function statementsWith(scopes: number): Promise<number[]> {
      const created = await cleanup.create(database, { entities: [Patient], synchronize: true });
      const writer = await protect(created).initialize();
      for (let at = 0; at < scopes; at += 1000) {
        const rows = Array.from({ length: Math.min(1000, scopes - at) }, (_, i) => at + i);
        await writer.manager.insert(
          Patient,
          rows.map((i) => Object.assign(patient(i), { email: `e${String(i)}` })),
        );
      }
      await writer.destroy();
      const statements = new StatementLog();
      const options = { logger: statements, logging: true, synchronize: false } as const;
      const reader = cleanup.add(await protect(created, {}, options).initialize());
      const counts = [statements.of().length];
      for (const work of [
        () => reader.manager.findOneByOrFail(Patient, { tenantId: 5, email: 'e5' }),
        () => reader.manager.insert(Patient, patient(6)),
      ]) {
        statements.clear();
        await work();
        counts.push(statements.of().length);
      }
      return counts;
    }
    expect(await statementsWith(MANY)).toEqual(await statementsWith(10));
  });

  it('may be more than are kept in memory', async () => {
    const created = await cleanup.create(database, { entities: [Patient], synchronize: true });
    const writer = cleanup.add(await protect(created).initialize());
    const rows = Array.from({ length: 5000 }, (_, i) => patient(i));
    // Others that come and go meanwhile take no key away from the statement.
    const others = Array.from({ length: 20 }, (_, i) =>
      writer.manager.insert(Patient, patient(10_000 + i)),
    );
    await Promise.all([writer.manager.insert(Patient, rows), ...others]);
    await writer.manager.delete(
      Patient,
      others.map((_, i) => ({ tenantId: 10_000 + i })),
    );
    await readAll(writer, 5000);
    const reader = cleanup.add(await protect(created).initialize());
    await Promise.all([readAll(reader, 5000), readAll(reader, 5000)]);
  });
});

async function readAll(dataSource: DataSource, count: number): Promise<void> {
  const found = await dataSource.manager.find(Patient, { order: { tenantId: 'ASC' } });
  expect(found.map(({ ssn }) => ssn)).toEqual(
    Array.from({ length: count }, (_, i) => `canary ${String(i)}`),
  );
}
