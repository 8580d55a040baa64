import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { DataSource } from 'typeorm';
import { Encrypted, fieldEncryption, KeyScope, KeyStateError, withKeyScope } from '../../src';
import type { Erasure, FieldEncryption, FieldEncryptionOptions } from '../../src';
import { describeEachDatabase } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { Cleanup, protect, rejection } from '../support/protected-database';

@Entity('letter')
class Letter {
  @PrimaryColumn() id!: number;
  @KeyScope({ kind: 'tenant' }) @Column({ type: 'varchar', name: 'tenant' }) tenantId!: string;
  @Encrypted({ nullable: true }) text?: string | null;
}

/** Whose scope the context alone tells. */
@Entity('note')
class Note {
  @PrimaryColumn() id!: number;
  @Encrypted({ scope: 'tenant', nullable: true }) body?: string | null;
}

const UUID = '0f4e2a9c-1b2d-4c3e-8f5a-6b7c8d9e0f1a';
const REASON = 'request 4711';

describeEachDatabase('Cleartext in rows of a scope', (database) => {
  const cleanup = new Cleanup();
  let created: TestDatabase;
  let dataSource: DataSource;
  let encryption: FieldEncryption;
  afterEach(() => cleanup.run());

  beforeEach(async () => {
    created = await cleanup.create(database, { entities: [Letter, Note] });
    dataSource = await open({}, true);
    encryption = fieldEncryption(dataSource);
    await dataSource.manager.insert(Letter, [
      { id: 1, tenantId: 'north', text: 'one' },
      { id: 2, tenantId: 'south', text: 'two' },
      { id: 3, tenantId: UUID, text: 'three' },
    ]);
  });

  async function open(
    options: Partial<FieldEncryptionOptions> = {},
    synchronize = false,
  ): Promise<DataSource> {
    const legacyPlaintext = ['Letter.text', 'Note.body'];
    const overrides = { synchronize };
    const source = protect(created, { legacyPlaintext, ...options }, overrides);
    return cleanup.add(await source.initialize());
  }

  const write = (id: number, tenant: string): Promise<unknown> =>
    dataSource.query(
      `INSERT INTO letter (id, tenant, text) VALUES (${String(id)}, '${tenant}', 'in clear')`,
    );

  const shred = (tenant: string, of = encryption): Promise<Erasure> =>
    of.keys.shred({ scope: { tenant }, reason: REASON, graceMs: 0 });

  it('refuses the erasure of that scope alone, and the remedy helps', async () => {
    await write(4, 'north');
    const refused = await rejection(shred('north'));
    expect(refused).toBeInstanceOf(KeyStateError);
    expect(refused).toMatchObject({ entity: 'Letter', property: 'text' });
    expect(refused.message).toMatch(/^Letter\.text: 1 rows .*data encrypt --scope/);
    expect(refused.message).not.toMatch(/in clear|north/);
    expect((await shred('south')).state).toBe('erased');
    const [status] = await encryption.keys.scopeStatus([{ tenant: 'north' }]);
    expect(status).toMatchObject({ state: 'active' });
    expect(status?.columns).toContainEqual(
      expect.objectContaining({ entity: 'Letter', activeRows: 1, cleartextRows: 1 }),
    );
    expect(await encryption.encrypt({ scopes: [{ tenant: 'north' }] })).toMatchObject({
      changed: 1,
      failed: 0,
    });
    const erasure = await shred('north');
    expect(erasure).toMatchObject({ receipt: { columns: [{ property: 'text', rows: 2 }] } });
  });

  it('refuses the second step of one that was requested before', async () => {
    const { keys } = encryption;
    const waiting = { scope: { tenant: 'north' }, reason: REASON, graceMs: 60_000 };
    expect((await keys.shred(waiting)).state).toBe('requested');
    await write(4, 'north');
    await expect(keys.shred(waiting)).rejects.toThrow(/^Letter\.text: 1 rows/);
    await keys.cancelShred({ scope: { tenant: 'north' }, reason: 'cleartext' });
    await encryption.encrypt({ scopes: [{ tenant: 'north' }] });
    expect((await shred('north')).state).toBe('erased');
  });

  it('is found by a UUID however it is written', async () => {
    await write(4, UUID.toUpperCase());
    await write(5, UUID.replaceAll('-', ''));
    await expect(shred(UUID)).rejects.toThrow(/^Letter\.text: 2 rows/);
    expect(await encryption.encrypt({ scopes: [{ tenant: UUID }] })).toMatchObject({ changed: 2 });
    expect((await shred(UUID)).state).toBe('erased');
  });

  it('names the option that is missing', async () => {
    await write(4, 'north');
    const other = fieldEncryption(await open({ legacyPlaintext: [] }));
    await expect(shred('north', other)).rejects.toThrow(/'Letter\.text' .*legacyPlaintext/);
  });

  it('refuses where no column tells whose it is', async () => {
    await dataSource.query(`INSERT INTO note (id, body) VALUES (1, 'in clear')`);
    await expect(shred('north')).rejects.toThrow(/^Note\.body: 1 rows .* context of its tenant/);
    await withKeyScope({ tenant: 'north' }, () =>
      dataSource.manager.update(Note, { id: 1 }, { body: 'in clear' }),
    );
    const erasure = await shred('north');
    expect(erasure).toMatchObject({ receipt: { columns: [{ rows: 1 }, { rows: 1 }] } });
  });

  it('is named where it appears after the erasure, and is removed as the messages say', async () => {
    await shred('north');
    await write(4, 'north');
    await write(5, 'south');
    const ofErased = async (): Promise<unknown> =>
      (await encryption.status()).find(({ property }) => property === 'text');
    expect(await ofErased()).toMatchObject({
      cleartextRows: 2,
      scopes: { erasedCleartextRows: 1 },
    });
    const [status] = await encryption.keys.scopeStatus([{ tenant: 'north' }]);
    expect(status?.columns[0]).toMatchObject({ erasedRows: 1, cleartextRows: 1 });
    const failure = { entity: 'Letter', property: 'text', primaryKey: [4] };
    const named = { failed: 1, failures: [{ ...failure, code: 'ERR_ERASED' }] };
    expect(await encryption.verify()).toMatchObject(named);
    expect(await encryption.encrypt()).toMatchObject(named);
    await dataSource.manager.update(Letter, { id: 4 }, { text: null });
    expect(await encryption.verify()).toMatchObject({ failed: 0, erased: 1 });
    expect(await ofErased()).toMatchObject({
      cleartextRows: 0,
      scopes: { erasedCleartextRows: 0 },
    });
  });
});
