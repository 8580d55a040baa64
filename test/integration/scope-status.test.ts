import { randomUUID } from 'node:crypto';
import { Column, DataSource, Entity, PrimaryColumn } from 'typeorm';
import type { Repository } from 'typeorm';
import { BlindIndex, Encrypted, fieldEncryption, KeyScope, withFieldEncryption } from '../../src';
import type { ColumnStatus, ScopeCoverage } from '../../src';
import { countedState } from '../../src/doctor/encryption-state';
import type { OperatorTask } from '../../src/doctor/operator-task';
import { operatorTasks } from '../../src/doctor/operator-tasks';
import { installationOf } from '../../src/typeorm/installation/installations';
import { describeDiagonal } from '../support/databases';
import { openEncrypted, temporaryKms } from '../support/encrypted-database';
import type { EncryptedDatabase } from '../support/encrypted-database';

@Entity('letter')
class Letter {
  @PrimaryColumn('uuid') id: string = randomUUID();

  @KeyScope({ kind: 'tenant' }) @Column() tenantId!: number;

  @Encrypted() text!: string;

  @Encrypted({ nullable: true, storage: 'binary' }) seal?: string | null;

  @Encrypted({ nullable: true, scope: false }) @BlindIndex() sender?: string | null;
}

/** The same table, as it was before its tenants had keys. */
@Entity('letter')
class Unscoped {
  @PrimaryColumn('uuid') id: string = randomUUID();

  @Column() tenantId!: number;

  @Encrypted({ id: 'Letter.text' }) text!: string;
}

function letter(tenantId: number, values: Partial<Letter> = {}): Letter {
  return Object.assign(
    new Letter(),
    { tenantId, text: 'canary text', seal: 'canary seal' },
    values,
  );
}

describeDiagonal('The status of keys of scopes', (database) => {
  let opened: EncryptedDatabase;
  let dataSource: DataSource;
  let letters: Repository<Letter>;

  const kms = temporaryKms();

  beforeEach(async () => {
    opened = await openEncrypted(
      database,
      { entities: [Letter] },
      { kms: kms.kms, legacyScope: ['Letter.text'] },
    );
    ({ dataSource } = opened);
    letters = dataSource.getRepository(Letter);
  });

  afterEach(() => opened.dispose());
  afterAll(kms.dispose);

  async function column(property: string): Promise<ColumnStatus | undefined> {
    const status = await fieldEncryption(dataSource).status();
    return status.find((each) => each.property === property);
  }

  async function due(): Promise<OperatorTask[]> {
    return operatorTasks(await countedState(installationOf(dataSource)));
  }

  const totals = (values: Partial<ScopeCoverage>): ScopeCoverage => ({
    ...{
      kind: 'tenant',
      activeRows: 0,
      olderRows: 0,
      toBeErasedRows: 0,
      erasedRows: 0,
      commonRows: 0,
      erasedCleartextRows: 0,
      ...values,
    },
  });

  it('counts rows under keys of scopes in totals, however many scopes there are', async () => {
    await letters.insert([1, 2, 3, 4].map((tenantId) => letter(tenantId)));
    await letters.insert(letter(4, { seal: null, sender: 'canary sender' }));
    const { keys } = fieldEncryption(dataSource);
    await keys.rotateScope({ tenant: 1 });
    await keys.shred({ scope: { tenant: 2 }, reason: 'request 2', graceMs: 0 });
    const scopes = { activeRows: 3, olderRows: 1, erasedRows: 1 };
    expect(await column('text')).toMatchObject({
      ...{ rows: 5, nullRows: 0, cleartextRows: 0, keys: [], scopes: totals(scopes) },
    });
    expect(await column('seal')).toMatchObject({
      ...{ rows: 5, nullRows: 1, cleartextRows: 0, keys: [] },
      scopes: totals({ ...scopes, activeRows: 2 }),
    });
    expect(await column('sender')).toMatchObject({
      ...{ rows: 5, nullRows: 4, keys: [{ name: 'default', rows: 1 }], scopes: null },
    });
    expect((await fieldEncryption(dataSource).status()).scopes).toEqual(
      expect.arrayContaining([
        { kind: 'tenant', state: 'active', scopes: 3 },
        { kind: 'tenant', state: 'erased', scopes: 1 },
      ]),
    );
    expect((await fieldEncryption(dataSource).status()).scopes).toHaveLength(2);
    expect(await due()).toContainEqual({
      command: 'data reencrypt --entity Letter',
      reason: '1 value of Letter.text under an older key of their tenant',
    });
    expect(await fieldEncryption(dataSource).reencrypt()).toMatchObject({ changed: 1, erased: 1 });
    expect(await due()).toEqual([]);
    expect(await fieldEncryption(dataSource).verify()).toMatchObject({ failed: 0, erased: 1 });
  });

  it('counts scopes under a legal hold, and those whose erasure is requested, which is due', async () => {
    await letters.insert([1, 2, 3].map((tenantId) => letter(tenantId)));
    const { keys } = fieldEncryption(dataSource);
    await keys.hold({ scope: { tenant: 1 }, reason: 'case 1' });
    await keys.hold({ scope: { tenant: 2 }, reason: 'case 2' });
    await keys.shred({ scope: { tenant: 3 }, reason: 'request 1' });
    const counts = [
      { kind: 'tenant', state: 'held', scopes: 2 },
      { kind: 'tenant', state: 'requested', scopes: 1 },
    ];
    expect((await fieldEncryption(dataSource).status()).scopes).toEqual(counts);
    expect(await due()).toEqual([
      {
        command: 'keys scopes --kind tenant',
        reason:
          '1 erasure of kind tenant requested and not done: list them, and run keys shred again for each',
      },
    ]);
    await keys.release({ scope: { tenant: 1 }, reason: 'closed' });
    await keys.release({ scope: { tenant: 2 }, reason: 'closed' });
    await keys.cancelShred({ scope: { tenant: 3 }, reason: 'mistake' });
    expect((await fieldEncryption(dataSource).status()).scopes).toEqual([
      { kind: 'tenant', state: 'active', scopes: 3 },
    ]);
    expect(await due()).toEqual([]);
  });

  it('counts rows under a common key, until a run has moved them', async () => {
    const before = withFieldEncryption(
      new DataSource({ ...dataSource.options, entities: [Unscoped], synchronize: false }),
      { kms: kms.kms },
    );
    await before.initialize();
    const old = { id: randomUUID(), tenantId: 1, text: 'canary text' };
    await before.getRepository(Unscoped).insert(old);
    await before.destroy();
    await letters.insert(letter(2));
    expect(await column('text')).toMatchObject({
      keys: [{ name: 'default', rows: 1 }],
      scopes: totals({ activeRows: 1, commonRows: 1 }),
    });
    expect(await due()).toEqual([
      {
        command: 'data reencrypt --entity Letter',
        reason: '1 value of Letter.text under a common key, not one of their tenant',
      },
    ]);
    const unnamed = withFieldEncryption(
      new DataSource({ ...dataSource.options, entities: [Letter], synchronize: false }),
      { kms: kms.kms },
    );
    await unnamed.initialize();
    const task = operatorTasks(await countedState(installationOf(unnamed)));
    expect(task).toMatchObject([
      { command: null, reason: expect.stringContaining("add 'Letter.text' to") as string },
    ]);
    expect((await fieldEncryption(unnamed).doctor()).map(({ code }) => code)).toContain(
      'COMMON_KEY_FOUND',
    );
    expect(await fieldEncryption(unnamed).reencrypt()).toMatchObject({
      failures: [{ property: 'text', code: 'COMMON_KEY' }],
    });
    await unnamed.destroy();
    expect((await fieldEncryption(dataSource).doctor()).map(({ code }) => code)).not.toContain(
      'COMMON_KEY_FOUND',
    );
    const keysOfTenants = (): Promise<unknown> =>
      dataSource.query('SELECT id FROM field_encryption_scope_keys ORDER BY id');
    const keysBefore = await keysOfTenants();
    const plan = await fieldEncryption(dataSource).reencrypt({ dryRun: true });
    expect(plan).toMatchObject({ changed: 1, failed: 0, plan: { tables: [{ pending: 1 }] } });
    expect(await keysOfTenants()).toEqual(keysBefore);
    expect(await fieldEncryption(dataSource).reencrypt()).toMatchObject({ changed: 1, failed: 0 });
    expect(await column('text')).toMatchObject({ keys: [], scopes: totals({ activeRows: 2 }) });
    expect(await letters.findOneBy({ id: old.id })).toMatchObject({ text: 'canary text' });
    expect(await due()).toEqual([]);
  });

  it('destroys no data key with rows, even if a key of a scope claims its id', async () => {
    await letters.insert(letter(1, { sender: 'canary sender' }));
    const { keys } = fieldEncryption(dataSource);
    const [old] = (await keys.list()).filter(({ name }) => name === 'default');
    await keys.rotate('default');
    await dataSource.query(
      'UPDATE field_encryption_scope_keys SET id = (SELECT id FROM data_keys WHERE name = ' +
        `'default' AND purpose = 'data' AND version = 1), prefix = (SELECT substr(sender, 1, 12) FROM letter)`,
    );
    await expect(keys.destroy(String(old?.id), { graceMs: 0 })).rejects.toMatchObject({
      code: 'ERR_KEY_STATE',
    });
  });

  describe('in the doctor', () => {
    const codes = async (): Promise<string[]> =>
      (await fieldEncryption(dataSource).doctor()).map(({ code }) => code);

    it('names nothing where all is well, whatever keys scopes have', async () => {
      await letters.insert(letter(1));
      const levels = (await fieldEncryption(dataSource).doctor()).map(({ level }) => level);
      expect(levels).not.toContain('error');
    });

    it('names a branch key that is gone, and the table of scope keys', async () => {
      await letters.insert(letter(1));
      await dataSource.query(`UPDATE data_keys SET id = '00000000000000aa' WHERE name = 'branch'`);
      expect(await codes()).toContain('KEY_LOST');
      // No backup of keys brings back the keys of scopes, and the table may have been emptied with others.
      await dataSource.query('DELETE FROM field_encryption_scope_keys');
      const remedy = /field_encryption_scope_keys from a backup of the database/;
      const found = (await fieldEncryption(dataSource).doctor()).filter(
        ({ code }) => code === 'KEY_LOST',
      );
      expect(found).toMatchObject(
        ['Letter.text', 'Letter.seal'].map((name) => ({
          message: expect.stringContaining(name) as string,
          remedy: expect.stringMatching(remedy) as string,
        })),
      );
      expect((await due()).slice(0, 2)).toEqual(
        ['text', 'seal'].map(() => ({
          command: null,
          reason: expect.stringMatching(remedy) as string,
        })),
      );
      await dataSource.query('DROP TABLE field_encryption_scope_keys');
      expect(await codes()).toContain('OWN_TABLE_MISSING');
      expect(await due()).toContainEqual({
        command: null,
        reason: expect.stringContaining('field_encryption_scope_keys missing') as string,
      });
    });
  });
});

@Entity('note')
class Note {
  @PrimaryColumn('uuid') id: string = randomUUID();
  @Encrypted() @BlindIndex() text!: string;
}

describeDiagonal('Without keys of scopes', (database) => {
  const kms = temporaryKms();
  afterAll(kms.dispose);

  it('status, doctor, audit and the runs say what they say without this feature', async () => {
    const opened = await openEncrypted(database, { entities: [Note] }, { kms: kms.kms });
    try {
      const { dataSource } = opened;
      await dataSource.manager.insert(Note, Object.assign(new Note(), { text: 'canary' }));
      const encryption = fieldEncryption(dataSource);
      const status = await encryption.status();
      expect(status).toMatchObject([{ property: 'text', rows: 1, scopes: null }]);
      expect(status).toMatchObject({ scopes: [], due: [] });
      expect(operatorTasks(await countedState(installationOf(dataSource)))).toEqual([]);
      const codes = (await encryption.doctor()).filter(({ level }) => level === 'error');
      expect(codes).toEqual([]);
      expect(await encryption.audit.verify()).toMatchObject({ ok: true });
      expect(await encryption.verify()).toMatchObject({ scanned: 1, failed: 0 });
      expect(await encryption.reencrypt()).toMatchObject({ failed: 0 });
      expect(await encryption.keys.backup({ shares: 3, threshold: 2 })).toMatchObject({
        leftOut: [],
      });
      const [key] = await encryption.keys.list();
      expect(await encryption.keys.uses(String(key?.id))).toMatchObject([{ rowsUnderKey: 1 }]);
    } finally {
      await opened.dispose();
    }
  });
});
