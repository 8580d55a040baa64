import { createHash } from 'node:crypto';
import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { DataSource, EntityManager } from 'typeorm';
import { BlindIndex, Encrypted, fieldEncryption, KeyScope } from '../../src';
import type { FieldEncryptionOptions } from '../../src';
import { describeEachDatabase } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { Cleanup, protect, rejection } from '../support/protected-database';
import { acceptRows, refuseRows } from '../support/refused-rows';

@Entity()
class Note {
  @PrimaryColumn() id!: number;
  @KeyScope({ kind: 'tenant' }) @Column() tenantId!: string;
  @Encrypted() @BlindIndex() text!: string;
}

const note = (id: number, tenantId: string): Note =>
  Object.assign(new Note(), { id, tenantId, text: `of ${tenantId}` });

describeEachDatabase('The creation of keys of a scope', (database) => {
  const cleanup = new Cleanup();
  let created: TestDatabase;
  let dataSource: DataSource;

  afterEach(() => cleanup.run());
  beforeEach(async () => {
    created = await cleanup.create(database, { entities: [Note], synchronize: true });
    dataSource = cleanup.add(await protect(created).initialize());
    await dataSource.manager.insert(Note, note(1, 'first'));
  });

  async function open(options: Partial<FieldEncryptionOptions> = {}): Promise<DataSource> {
    return cleanup.add(await protect(created, options, { synchronize: false }).initialize());
  }

  const keysOf = async (tenant: string): Promise<string[]> => {
    const rows = await dataSource.query<{ id: string }[]>(
      `SELECT id FROM field_encryption_scope_keys WHERE scope = '${tenant}' ORDER BY id`,
    );
    return rows.map(({ id }) => id);
  };

  /** The entries about exactly these keys. */
  const entriesAbout = async (ids: readonly string[]): Promise<number> => {
    const entries = await fieldEncryption(dataSource).audit.list({ operation: 'create' });
    const reference = createHash('sha256').update(ids.join('\n')).digest('hex');
    return entries.filter((entry) => entry.reference === reference).length;
  };

  /** Expects data and index key of a tenant, in one entry. */
  async function expectRecorded(tenant: string): Promise<void> {
    const ids = await keysOf(tenant);
    expect(ids).toHaveLength(2);
    expect(await entriesAbout(ids)).toBe(1);
    expect((await fieldEncryption(dataSource).audit.verify()).ok).toBe(true);
  }

  const within = (id: number, tenant: string) => (manager: EntityManager) =>
    manager.insert(Note, note(id, tenant));

  it('is recorded with them', async () => {
    await dataSource.manager.insert(Note, note(2, 'north'));
    await expectRecorded('north');
  });

  it('is recorded before a transaction commits, once', async () => {
    await dataSource.transaction(within(2, 'north'));
    await expectRecorded('north');
    await dataSource.manager.insert(Note, note(3, 'north'));
    await dataSource.destroy();
    dataSource = await open();
    await expectRecorded('north');
  });

  it('is recorded by the outermost of nested transactions, without what was rolled back', async () => {
    await dataSource.transaction(async (outer) => {
      await outer.transaction(within(2, 'north'));
      const failing = outer.transaction(async (inner) => {
        await within(3, 'south')(inner);
        throw new Error('rolled back');
      });
      await expect(failing).rejects.toThrow('rolled back');
    });
    await expectRecorded('north');
    expect(await keysOf('south')).toEqual([]);
  });

  it('leaves no entry where it was rolled back', async () => {
    const before = await fieldEncryption(dataSource).audit.head();
    const failing = dataSource.transaction(async (manager) => {
      await within(2, 'north')(manager);
      throw new Error('rolled back');
    });
    await expect(failing).rejects.toThrow('rolled back');
    await dataSource.transaction((manager) => manager.query('SELECT 1'));
    expect(await keysOf('north')).toEqual([]);
    expect(await fieldEncryption(dataSource).audit.head()).toBe(before);
    await dataSource.transaction(within(2, 'north'));
    await expectRecorded('north');
  });

  it('is recorded late where a transaction of plain statements has ended unseen', async () => {
    const runner = dataSource.createQueryRunner();
    // TypeORM does not see that of SQLite, where it has only one connection.
    if (database.dialect !== 'sqlite') {
      await runner.query('BEGIN');
      await runner.manager.insert(Note, note(2, 'north'));
      await runner.query('COMMIT');
    } else {
      await runner.startTransaction();
      await runner.manager.insert(Note, note(2, 'north'));
      await runner.query('COMMIT');
      Object.assign(runner, { isTransactionActive: false, transactionDepth: 0 });
    }
    await runner.release();
    await dataSource.destroy();
    dataSource = await open();
    await expectRecorded('north');
  });

  it('is refused, keys and all, while the log takes no entry', async () => {
    await refuseRows(dataSource, 'field_encryption_audit', 'nope');
    for (let i = 0; i < 2; i += 1) {
      await expect(dataSource.manager.insert(Note, note(2, 'north'))).rejects.toThrow(/nope/);
      await expect(dataSource.transaction(within(2, 'north'))).rejects.toThrow(/nope/);
    }
    expect(await keysOf('north')).toEqual([]);
    expect(await dataSource.manager.count(Note)).toBe(1);
    await acceptRows(dataSource, 'field_encryption_audit');
    await dataSource.transaction(within(2, 'north'));
    await expectRecorded('north');
  });

  it('is refused without the table of the log', async () => {
    await dataSource.query('ALTER TABLE field_encryption_audit RENAME TO gone');
    const isTyped = { code: 'ERR_CONFIGURATION' };
    await expect(dataSource.manager.insert(Note, note(2, 'north'))).rejects.toMatchObject(isTyped);
    await expect(dataSource.transaction(within(2, 'north'))).rejects.toMatchObject(isTyped);
    const other = await open();
    await expect(other.manager.insert(Note, note(2, 'north'))).rejects.toMatchObject(isTyped);
    await expect(other.transaction(within(2, 'north'))).rejects.toMatchObject(isTyped);
    expect(await keysOf('north')).toEqual([]);
    // Those that there are go on.
    await other.manager.insert(Note, note(3, 'first'));
    await dataSource.query('ALTER TABLE gone RENAME TO field_encryption_audit');
    await other.transaction(within(2, 'north'));
    await expectRecorded('north');
  });

  it('is a retryable error of the sink, with nothing written', async () => {
    const taken: string[] = [];
    let isAway = true;
    const sink = ({ operation }: { readonly operation: string }): void => {
      if (isAway) throw new Error('away');
      taken.push(operation);
    };
    const other = await open({ audit: { sink } });
    expect(await rejection(other.transaction(within(2, 'north')))).toMatchObject({
      code: 'ERR_AUDIT',
    });
    expect(await rejection(other.manager.insert(Note, note(2, 'north')))).toMatchObject({
      code: 'ERR_AUDIT',
    });
    expect(await keysOf('north')).toEqual([]);
    isAway = false;
    await other.transaction(within(2, 'north'));
    expect(taken).toEqual(['create']);
    await expectRecorded('north');
  });

  it('needs no log where none is kept', async () => {
    const other = await open({ audit: false });
    await other.transaction(within(2, 'north'));
    await other.manager.insert(Note, note(3, 'south'));
    expect(await keysOf('north')).toHaveLength(2);
    expect(await entriesAbout(await keysOf('north'))).toBe(0);
  });
});
