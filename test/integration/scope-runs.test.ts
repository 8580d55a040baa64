import type { DataSource } from 'typeorm';
import { EntitySchema } from 'typeorm';
import {
  encryptedColumn,
  fieldEncryption,
  keyScopeColumn,
  KeyStateError,
  RunPlanError,
  UnsupportedValueError,
  withKeyScope,
} from '../../src';
import type { FieldEncryption, FieldEncryptionOptions, ScopeStatus } from '../../src';
import { describeDiagonal } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { Cleanup, protect } from '../support/protected-database';

interface LetterRow {
  id: number;
  tenantId: number;
  personId: string;
  text: string;
  seal: string | null;
  note: string | null;
}

const Letter = new EntitySchema<LetterRow>({
  name: 'Letter',
  columns: {
    id: { type: Number, primary: true },
    tenantId: keyScopeColumn({ kind: 'tenant', type: Number, name: 'tenant_id' }),
    personId: keyScopeColumn({ kind: 'person', type: 'varchar' }),
    text: encryptedColumn({ scope: 'tenant' }),
    seal: encryptedColumn({ scope: 'tenant', storage: 'binary', nullable: true }),
    note: encryptedColumn({ scope: 'person', nullable: true }),
  },
});

/** The same table as it was before its tenants had keys. */
const Before = new EntitySchema<LetterRow>({
  name: 'Letter',
  columns: {
    id: { type: Number, primary: true },
    tenantId: { type: Number, name: 'tenant_id' },
    personId: { type: 'varchar' },
    text: encryptedColumn(),
  },
});

/** Of the tenant of the context. */
const Memo = new EntitySchema<{ id: number; text: string }>({
  name: 'Memo',
  columns: { id: { type: Number, primary: true }, text: encryptedColumn({ scope: 'tenant' }) },
});

const Plain = new EntitySchema<{ id: number; text: string }>({
  name: 'Plain',
  columns: { id: { type: Number, primary: true }, text: encryptedColumn() },
});

const entities = [Letter, Memo, Plain];

function letter(id: number, tenantId: number, personId = 'ada'): LetterRow {
  return { id, tenantId, personId, text: 'canary', seal: 'canary', note: 'canary' };
}

describeDiagonal('A run over the rows of some scopes', (kind) => {
  const cleanup = new Cleanup();
  let database: TestDatabase;
  let dataSource: DataSource;
  let encryption: FieldEncryption;

  beforeEach(async () => {
    database = await cleanup.create(kind, { entities, synchronize: true });
    await open();
    await dataSource
      .getRepository(Letter)
      .insert([letter(1, 7), letter(2, 8), letter(3, 9, 'bob')]);
    for (const tenant of [7, 8]) {
      await withKeyScope({ tenant }, () =>
        dataSource.getRepository(Memo).insert({ id: tenant, text: 'canary' }),
      );
    }
    await dataSource.getRepository(Plain).insert({ id: 1, text: 'canary' });
  });
  afterEach(() => cleanup.run());

  async function open(options: Partial<FieldEncryptionOptions> = {}): Promise<void> {
    dataSource = cleanup.add(await protect(database, options).initialize());
    encryption = fieldEncryption(dataSource);
  }

  async function status(tenant: number): Promise<ScopeStatus | undefined> {
    return (await encryption.keys.scopeStatus([{ tenant }]))[0];
  }

  const rows = (property: string, active: number, older: number, erased = 0): object => ({
    ...{ property, activeRows: active, olderRows: older, erasedRows: erased },
  });

  it('moves those to their new keys, and no others', async () => {
    await encryption.keys.rotate();
    await encryption.keys.rotateScopes({ kind: 'tenant' });
    await encryption.keys.rotateScopes({ kind: 'person' });
    expect((await status(7))?.columns).toMatchObject([
      ...[rows('text', 0, 1), rows('seal', 0, 1), rows('text', 0, 1)],
    ]);
    const scopes = [{ tenant: 7 }, { tenant: 9 }];
    const plan = await encryption.reencrypt({ scopes, dryRun: true });
    expect(plan).toMatchObject({ changed: 3, plan: { tables: [{ pending: 2 }, { pending: 1 }] } });
    const report = await encryption.reencrypt({ scopes });
    expect(report).toMatchObject({ changed: 3, failed: 0, remaining: 0 });
    const moved = [rows('text', 1, 0), rows('seal', 1, 0)];
    expect((await status(7))?.columns).toMatchObject([...moved, rows('text', 1, 0)]);
    expect((await status(9))?.columns).toMatchObject([...moved, rows('text', 0, 0)]);
    expect((await status(8))?.columns).toMatchObject([
      ...[rows('text', 0, 1), rows('seal', 0, 1), rows('text', 0, 1)],
    ]);
    expect(await encryption.keys.scopeStatus([{ person: 'ada' }])).toMatchObject([
      { columns: [rows('note', 0, 2)] },
    ]);
    const left = await encryption.reencrypt({
      scopes: [{ person: 'ada' }, { tenant: 8 }],
      where: { Letter: 'tenant_id <> :n' },
      parameters: { n: 7 },
    });
    expect(left).toMatchObject({ changed: 1, failed: 0 });
    expect(await encryption.keys.scopeStatus([{ person: 'ada' }])).toMatchObject([
      { columns: [rows('note', 1, 1)] },
    ]);
    expect(await encryption.verify({ scopes: [{ tenant: 7 }] })).toMatchObject({ scanned: 2 });
  });

  it('moves rows under a common key by the column of the scope', async () => {
    const before = protect(database, {}, { entities: [Before], synchronize: false });
    await before.initialize();
    await before.getRepository(Before).insert([letter(4, 7), letter(5, 8)]);
    await before.destroy();
    await open({ legacyScope: ['Letter.text'] });
    expect(await encryption.reencrypt({ scopes: [{ tenant: 7 }] })).toMatchObject({
      ...{ changed: 1, failed: 0, remaining: 0 },
    });
    expect((await encryption.status())[0]).toMatchObject({ scopes: { commonRows: 1 } });
    expect(await dataSource.getRepository(Letter).findOneBy({ id: 4 })).toMatchObject({
      text: 'canary',
    });
  });

  it('is refused for a scope without keys, and where nothing has keys of its kind', async () => {
    await expect(encryption.reencrypt({ scopes: [{ tenant: 7 }, { tenant: 77 }] })).rejects.toThrow(
      KeyStateError,
    );
    await expect(encryption.keys.scopeStatus([{ tenant: 77 }])).rejects.toThrow(KeyStateError);
    await expect(encryption.reencrypt({ scopes: [{}] })).rejects.toThrow(UnsupportedValueError);
    await expect(encryption.reencrypt({ scopes: [] })).rejects.toThrow(RunPlanError);
    await expect(
      encryption.reencrypt({ scopes: [{ tenant: 7 }], entities: [Plain] }),
    ).rejects.toThrow('none of these properties has keys of tenant');
  });

  it('leaves the status of a scope say whether it is held, to be erased, or erased', async () => {
    const { keys } = encryption;
    const scope = { tenant: 7 };
    await keys.rotateScope(scope);
    const fresh = await status(7);
    expect(fresh).toMatchObject({ kind: 'tenant', scope: '7', state: 'active', held: false });
    expect(fresh?.keys).toMatchObject([
      { purpose: 'data', version: 2, state: 'active' },
      { purpose: 'data', version: 1, state: 'deactivated' },
    ]);
    expect(fresh?.keys[0]?.since).toBeInstanceOf(Date);
    await keys.hold({ scope, reason: 'case 1' });
    expect(await status(7)).toMatchObject({ state: 'active', held: true });
    await keys.release({ scope, reason: 'case 1' });
    await keys.shred({ scope, reason: 'case 1' });
    expect(await status(7)).toMatchObject({ state: 'requested', held: false });
    await keys.shred({ scope, reason: 'case 1', graceMs: 0 }).catch(() => undefined);
    await keys.cancelShred({ scope, reason: 'case 1' });
    await keys.shred({ scope, reason: 'case 1', graceMs: 0 });
    expect(await status(7)).toMatchObject({
      state: 'erased',
      // None can be made any more, for tokens either.
      keys: ['data', 'data', 'index'].map((purpose) => ({ purpose, state: 'erased' })),
      columns: [rows('text', 0, 0, 1), rows('seal', 0, 0, 1), rows('text', 0, 0, 1)],
    });
    expect(await status(8)).toMatchObject({ state: 'active' });
  });
});
