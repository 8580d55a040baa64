import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { DataSource, Repository } from 'typeorm';
import { ALL_SCOPES, Encrypted, fieldEncryption, KeyScope, withKeyScope } from '../../src';
import type { FieldEncryptionOptions, KeyEvent } from '../../src';
import { describeDiagonal } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { Cleanup, protect } from '../support/protected-database';
import { refuseRows } from '../support/refused-rows';

@Entity()
class Memo {
  @PrimaryColumn() id!: number;
  @KeyScope({ kind: 'tenant' }) @Column() tenantId!: string;
  @Encrypted() text!: string;
}

const TABLE = 'field_encryption_audit';

describeDiagonal('Work across scopes', (database) => {
  const cleanup = new Cleanup();
  const events: KeyEvent[] = [];
  let created: TestDatabase;

  afterEach(() => cleanup.run());
  beforeEach(async () => {
    events.length = 0;
    created = await cleanup.create(database, { entities: [Memo], synchronize: true });
    const { manager } = await open();
    await manager.insert(Memo, { id: 1, tenantId: 'north', text: 'of north' });
    await manager.insert(Memo, { id: 2, tenantId: 'south', text: 'of south' });
  });

  async function open(
    options: Partial<FieldEncryptionOptions> = {},
    overrides = {},
  ): Promise<DataSource> {
    const onEvent = (event: KeyEvent): unknown => events.push(event);
    return cleanup.add(await protect(created, { onEvent, ...options }, overrides).initialize());
  }

  /** Counts the entries as they are in the table at this moment. */
  async function entries(dataSource: DataSource): Promise<number> {
    const rows: unknown[] = await dataSource.query(
      `SELECT seq FROM ${TABLE} WHERE operation = 'allScopes'`,
    );
    return rows.length;
  }

  const WORK: readonly (readonly [string, (memos: Repository<Memo>) => Promise<unknown>])[] = [
    ['find', (memos) => memos.find()],
    ['findOneBy', (memos) => memos.findOneBy({ id: 1 })],
    ['getMany', (memos) => memos.createQueryBuilder('m').getMany()],
    ['update', (memos) => memos.update({ id: 1 }, { text: 'changed' })],
    ['save', (memos) => memos.save({ id: 1, tenantId: 'north', text: 'changed' })],
    ['insert', (memos) => memos.insert({ id: 3, tenantId: 'north', text: 'new' })],
    [
      'upsert',
      (memos) => memos.upsert({ id: 3, tenantId: 'north', text: 'n' }, ['id', 'tenantId']),
    ],
  ];

  it.each(WORK.slice(0, -1))(
    'has its entry before a fresh process goes on: %s',
    async (_, work) => {
      const dataSource = await open();
      await withKeyScope(ALL_SCOPES, async () => {
        await work(dataSource.getRepository(Memo));
        expect(await entries(dataSource)).toBe(1);
      });
    },
  );

  it.each(WORK)('is refused where the log refuses the entry: %s', async (_, work) => {
    const dataSource = await open();
    await refuseRows(dataSource, TABLE, 'full');
    const memos = dataSource.getRepository(Memo);
    for (let i = 0; i < 2; i += 1) {
      await expect(withKeyScope(ALL_SCOPES, () => work(memos))).rejects.toThrow();
    }
    const texts = (await memos.find({ order: { id: 'ASC' } })).map(({ text }) => text);
    expect(texts).toEqual(['of north', 'of south']);
  });

  if (database.dialect === 'sqlite') return;

  it('has its entry on another connection within a transaction, before rows are read', async () => {
    const dataSource = await open();
    await dataSource.transaction(async (manager) => {
      await withKeyScope(ALL_SCOPES, () => manager.find(Memo));
      expect(await entries(dataSource)).toBe(1);
    });
  });

  it('is refused within a transaction where the log refuses the entry', async () => {
    const dataSource = await open();
    await refuseRows(dataSource, TABLE, 'full');
    const read = dataSource.transaction((manager) =>
      withKeyScope(ALL_SCOPES, () => manager.find(Memo)),
    );
    await expect(read).rejects.toThrow();
  });

  it('goes on without its entry only where the transaction has the last connection', async () => {
    const keyCache = { transactionWaitMs: 50 };
    const dataSource = await open({ keyCache }, { poolSize: 1 });
    await dataSource.getRepository(Memo).find();
    const found = await dataSource.transaction((manager) =>
      withKeyScope(ALL_SCOPES, () => manager.find(Memo)),
    );
    expect(found).toHaveLength(2);
    const { audit } = fieldEncryption(dataSource);
    while ((await entries(dataSource)) === 0) await new Promise(setImmediate);
    expect(await audit.verify()).toMatchObject({ ok: true });
    expect(events.filter(({ type }) => type === 'auditFailed')).toEqual([]);
  });
});
