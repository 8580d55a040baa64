import { EntitySchema } from 'typeorm';
import type { DataSource } from 'typeorm';
import { encryptedColumn, fieldEncryption, keyScopeColumn, withKeyScope } from '../../src';
import type { FieldEncryption, FieldEncryptionOptions } from '../../src';
import { describeDiagonal } from '../support/databases';
import type { DatabaseKind, TestDatabase } from '../support/databases';
import { Cleanup, protect } from '../support/protected-database';
import { sqlOf } from '../support/sql-of';

interface LetterRow {
  id: number;
  tenantId: number;
  text: string;
  seal: string | null;
}

/** As it was in clear. TypeORM would empty a column of another type than it gets with encryption. */
function clearLetter({ dialect }: DatabaseKind): EntitySchema<LetterRow> {
  const text =
    dialect === 'mysql'
      ? ({ type: 'longtext', charset: 'utf8mb4', collation: 'utf8mb4_bin' } as const)
      : ({ type: 'text' } as const);
  return new EntitySchema<LetterRow>({
    name: 'Letter',
    columns: {
      id: { type: Number, primary: true },
      tenantId: { type: Number },
      text,
      seal: { ...text, nullable: true },
    },
  });
}
const Letter = new EntitySchema<LetterRow>({
  name: 'Letter',
  columns: {
    id: { type: Number, primary: true },
    tenantId: keyScopeColumn({ kind: 'tenant', type: Number }),
    text: encryptedColumn(),
    seal: encryptedColumn({ nullable: true }),
  },
});
/** Of the tenant of the context. */
const Memo = new EntitySchema<{ id: number; text: string }>({
  name: 'Memo',
  columns: { id: { type: Number, primary: true }, text: encryptedColumn({ scope: 'tenant' }) },
});

const PROPERTIES = ['Letter.text', 'Letter.seal'];

describeDiagonal('A cleartext column that gets keys of scopes', (kind) => {
  const cleanup = new Cleanup();
  const Clear = clearLetter(kind);
  let database: TestDatabase;
  let dataSource: DataSource;
  let encryption: FieldEncryption;

  beforeEach(async () => {
    database = await cleanup.create(kind, { entities: [Clear], synchronize: true });
    const before = cleanup.add(await protect(database).initialize());
    await before.manager.insert(
      Clear,
      [1, 2, 3, 4].map((id) => ({
        ...{ id, tenantId: 7 + (id % 2), text: `canary ${String(id)}` },
        seal: id === 1 ? 'canary' : null,
      })),
    );
    await open({ legacyPlaintext: PROPERTIES });
  });
  afterEach(() => cleanup.run());

  async function open(options: Partial<FieldEncryptionOptions>): Promise<void> {
    const overrides = { entities: [Letter, Memo], synchronize: true };
    dataSource = cleanup.add(await protect(database, options, overrides).initialize());
    encryption = fieldEncryption(dataSource);
  }

  const done = { failed: 0, conflicts: 0, remaining: 0 };

  it('has nothing left once all is encrypted', async () => {
    expect(await encryption.encrypt({ dryRun: true })).toMatchObject({
      plan: { tables: [{ pending: 4 }] },
    });
    const some = { scopes: [{ tenant: 7 }] };
    await dataSource.manager.insert(Letter, { id: 5, tenantId: 7, text: 'canary 5', seal: null });
    expect(await encryption.encrypt(some)).toMatchObject({ changed: 2, ...done });
    expect(await encryption.encrypt()).toMatchObject({ changed: 2, ...done });
    expect(await encryption.encrypt()).toMatchObject({ changed: 0, ...done });
    await encryption.keys.rotateScopes({ kind: 'tenant' });
    expect(await encryption.encrypt()).toMatchObject({ changed: 0, ...done });
  });

  it('becomes cleartext again, and what was erased is not left over', async () => {
    await encryption.encrypt();
    await encryption.keys.shred({ scope: { tenant: 8 }, reason: 'request 1', graceMs: 0 });
    expect(await encryption.encrypt()).toMatchObject({ changed: 0, erased: 2, ...done });
    expect(await encryption.decrypt()).toMatchObject({ changed: 2, erased: 2, ...done });
    expect(await encryption.decrypt()).toMatchObject({ changed: 0, erased: 2, ...done });
    const texts = await dataSource.query(
      sqlOf(dataSource.options, 'SELECT text FROM letter WHERE "tenantId" = 7'),
    );
    expect(texts).toEqual([{ text: 'canary 2' }, { text: 'canary 4' }]);
  });
});

describeDiagonal('A value whose scope the context alone tells', (kind) => {
  const cleanup = new Cleanup();
  afterEach(() => cleanup.run());

  it.each(['error', 'null'] as const)(
    'counts as erased after the erasure, in every run: onErased %s',
    async (onErased) => {
      const database = await cleanup.create(kind, { entities: [Memo], synchronize: true });
      const dataSource = cleanup.add(await protect(database, { onErased }).initialize());
      const encryption = fieldEncryption(dataSource);
      for (const tenant of [7, 8]) {
        await withKeyScope({ tenant }, () =>
          dataSource.getRepository(Memo).insert({ id: tenant, text: 'canary' }),
        );
      }
      await encryption.keys.shred({ scope: { tenant: 7 }, reason: 'request 1', graceMs: 0 });
      const counted = { failed: 0, failures: [], erased: 1 };
      expect(await encryption.verify()).toMatchObject({ scanned: 2, ...counted });
      expect(await encryption.reencrypt()).toMatchObject({ ...counted, remaining: 0 });
      // A key that is lost is none that was erased.
      await dataSource.query(
        `DELETE FROM field_encryption_scope_keys WHERE scope = '8' AND purpose = 'data'`,
      );
      const fresh = cleanup.add(await protect(database, { onErased }).initialize());
      expect(await fieldEncryption(fresh).verify()).toMatchObject({
        failures: [{ primaryKey: [8], code: 'ERR_KEY_NOT_FOUND' }],
      });
    },
  );
});
