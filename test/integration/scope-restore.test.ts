import { copyFileSync } from 'node:fs';
import { createConnection } from 'mysql2/promise';
import type { RowDataPacket } from 'mysql2/promise';
import { Client } from 'pg';
import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { DataSource, DataSourceOptions } from 'typeorm';
import {
  BlindIndex,
  Encrypted,
  ErasedError,
  fieldEncryption,
  KeyScope,
  KeyUnwrapError,
} from '../../src';
import type { ErasureReceipt } from '../../src';
import { describeDiagonal } from '../support/databases';
import type { DatabaseKind, TestDatabase } from '../support/databases';
import { Cleanup, protect } from '../support/protected-database';

@Entity()
class Patient {
  @PrimaryColumn() id!: number;
  @KeyScope({ kind: 'tenant' }) @Column() tenantId!: number;
  @Encrypted() @BlindIndex({ scope: false }) email!: string;
}

/** Copies of a database as files or, on a server, as databases. */
class Copies {
  readonly #kind: DatabaseKind;
  readonly #cleanup: Cleanup;

  constructor(kind: DatabaseKind, cleanup: Cleanup) {
    this.#kind = kind;
    this.#cleanup = cleanup;
  }

  /** Copies a database that nothing is connected to. */
  async copy({ dataSourceOptions: options }: TestDatabase): Promise<TestDatabase> {
    const copy = await this.#cleanup.create(this.#kind, { entities: [Patient] });
    const [from, to] = [placeOf(options), placeOf(copy.dataSourceOptions)];
    await COPY[this.#kind.dialect](from, to);
    return copy;
  }
}

function placeOf(options: DataSourceOptions): string {
  const { database, url } = options as { database?: string; url?: string };
  return String(url ?? database);
}

/** What copies a database in the place of another, which is empty. */
const COPY = {
  sqlite: copyFileSync,
  postgres: copyOnPostgres,
  mysql: copyOnMysql,
};

const nameOf = (url: string): string => new URL(url).pathname.slice(1);

async function copyOnMysql(from: string, to: string): Promise<void> {
  const connection = await createConnection({ uri: from });
  try {
    const [rows] = await connection.query<RowDataPacket[]>(
      `SELECT table_name AS name, GROUP_CONCAT(column_name) AS columns FROM information_schema.columns
       WHERE table_schema = DATABASE() AND COALESCE(generation_expression, '') = '' GROUP BY table_name`,
    );
    for (const { name, columns } of rows as { name: string; columns: string }[]) {
      const copy = `${nameOf(to)}.${name}`;
      await connection.query(`CREATE TABLE ${copy} LIKE ${name}`);
      await connection.query(`INSERT INTO ${copy} (${columns}) SELECT ${columns} FROM ${name}`);
    }
  } finally {
    await connection.end();
  }
}

async function copyOnPostgres(from: string, to: string): Promise<void> {
  const server = new URL(from);
  server.pathname = 'postgres';
  const client = new Client(server.href);
  await client.connect();
  try {
    await client.query(`DROP DATABASE ${nameOf(to)}`);
    await client.query(`CREATE DATABASE ${nameOf(to)} TEMPLATE ${nameOf(from)}`);
  } finally {
    await client.end();
  }
}

describeDiagonal('A database that is restored from a copy', (kind) => {
  const cleanup = new Cleanup();
  const copies = new Copies(kind, cleanup);
  afterEach(() => cleanup.run());

  async function using<T>(
    database: TestDatabase,
    work: (dataSource: DataSource) => Promise<T>,
  ): Promise<T> {
    const dataSource = await protect(database).initialize();
    try {
      return await work(dataSource);
    } finally {
      await dataSource.destroy();
    }
  }

  const emailOf = async (of: DataSource, id: number): Promise<string> =>
    (await of.manager.findOneByOrFail(Patient, { id })).email;

  async function shred(dataSource: DataSource): Promise<ErasureReceipt> {
    const erasure = await fieldEncryption(dataSource).keys.shred({
      ...{ scope: { tenant: 7 }, reason: 'request 1', graceMs: 0 },
    });
    if (erasure.state !== 'erased') throw new Error('it was to be erased at once');
    return erasure.receipt;
  }

  it('has erased scopes again until the receipts are replayed, and then no more', async () => {
    const live = await cleanup.create(kind, { entities: [Patient], synchronize: true });
    await using(live, async ({ manager }) => {
      await manager.insert(Patient, { id: 1, tenantId: 7, email: 'ada@example.org' });
      await manager.insert(Patient, { id: 2, tenantId: 8, email: 'bob@example.org' });
    });
    const before = await copies.copy(live);
    const receipt = await using(live, shred);
    const after = await copies.copy(live);

    await using(after, async (restored) => {
      await expect(emailOf(restored, 1)).rejects.toBeInstanceOf(ErasedError);
      expect(await fieldEncryption(restored).keys.isRecorded(receipt)).toBe(true);
    });
    const replayed = await using(before, async (restored) => {
      expect(await emailOf(restored, 1)).toBe('ada@example.org');
      const { audit, keys } = fieldEncryption(restored);
      const { erased, ...others } = await keys.replayShred([receipt]);
      const [again] = erased;
      expect(others).toEqual({ stillErased: [], held: [], unproven: [] });
      expect(again).toMatchObject({ scope: '7', keyIds: receipt.keyIds });
      await expect(emailOf(restored, 1)).rejects.toBeInstanceOf(ErasedError);
      await expect(
        restored.manager.insert(Patient, { id: 3, tenantId: 7, email: 'eve@example.org' }),
      ).rejects.toBeInstanceOf(ErasedError);
      expect(await restored.manager.findBy(Patient, { email: 'ada@example.org' })).toEqual([]);
      expect(await emailOf(restored, 2)).toBe('bob@example.org');
      expect(await audit.verify()).toMatchObject({ ok: true });
      return again;
    });
    // Neither has another copy of it.
    await using(await copies.copy(before), async (restored) => {
      await expect(emailOf(restored, 1)).rejects.toBeInstanceOf(ErasedError);
      const { keys } = fieldEncryption(restored);
      expect(replayed && (await keys.isRecorded(replayed))).toBe(true);
    });
  });

  it('is erased on the word of the operator by a receipt that nothing proves, and by others all the same', async () => {
    const live = await cleanup.create(kind, { entities: [Patient], synchronize: true });
    await using(live, async ({ manager }) => {
      await manager.insert(Patient, { id: 1, tenantId: 7, email: 'ada@example.org' });
      await manager.insert(Patient, { id: 2, tenantId: 8, email: 'bob@example.org' });
    });
    const before = await copies.copy(live);
    const [proven, unproven] = await using(live, async (dataSource) => {
      const { keys } = fieldEncryption(dataSource);
      const erasure = await keys.shred({ scope: { tenant: 8 }, reason: 'request 2', graceMs: 0 });
      if (erasure.state !== 'erased') throw new Error('it was to be erased at once');
      // The branch key that seals the receipt is made after the copy, and destroyed.
      await keys.rotate('branch');
      const receipt = await shred(dataSource);
      await keys.rotate('branch');
      await keys.resealScopes();
      await keys.destroy(receipt.branchId, { graceMs: 0 });
      // The scope is erased, whether or not anything proves the receipt.
      expect(await keys.replayShred([receipt])).toMatchObject({
        ...{ stillErased: [receipt], unproven: [] },
      });
      const edited = { ...erasure.receipt, reason: 'another' };
      await expect(keys.replayShred([edited])).rejects.toBeInstanceOf(KeyUnwrapError);
      expect(await keys.replayShred([erasure.receipt])).toMatchObject({
        stillErased: [erasure.receipt],
      });
      return [erasure.receipt, receipt];
    });
    await using(before, async (restored) => {
      const { keys } = fieldEncryption(restored);
      expect(await keys.replayShred([unproven, proven])).toMatchObject({
        erased: [{ scope: '8' }],
        unproven: [unproven],
      });
      expect(await emailOf(restored, 1)).toBe('ada@example.org');
      expect(await keys.replayShred([unproven], { acceptUnproven: true })).toMatchObject({
        erased: [{ scope: '7' }],
        unproven: [],
      });
      await expect(emailOf(restored, 1)).rejects.toBeInstanceOf(ErasedError);
    });
  });
});
