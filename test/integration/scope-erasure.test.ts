import { randomUUID } from 'node:crypto';
import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { DataSource } from 'typeorm';
import {
  ConfigurationError,
  BlindIndex,
  DecryptionError,
  Encrypted,
  ErasedError,
  fieldEncryption,
  FieldEncryptionError,
  KeyScope,
  KeyUnwrapError,
  UnsupportedValueError,
} from '../../src';
import type { ErasureReceipt, FieldEncryptionOptions } from '../../src';
import { DEFAULT_MAX_VALUE_BYTES } from '../../src/field/field-policy';
import type { FieldPolicy } from '../../src/field/field-policy';
import { FieldCipher } from '../../src/field/field-cipher';
import { RowContextForm, utf8 } from '../../src/field/row-context';
import { installationOf } from '../../src/typeorm/installation/installations';
import { moveDatabaseClock } from '../support/database-clock';
import { describeDiagonal } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { Cleanup, protect } from '../support/protected-database';
import { sqlOf } from '../support/sql-of';

@Entity()
class Patient {
  @PrimaryColumn('uuid') id: string = randomUUID();
  @KeyScope({ kind: 'tenant' }) @Column() tenantId!: number;
  @Encrypted() @BlindIndex() ssn!: string;
  @Encrypted({ nullable: true }) @BlindIndex({ scope: false }) login?: string | null;
}

interface KeyRow {
  id: string;
  purpose: string;
  state: string;
  sealed: string;
  since: string;
}

const SCOPE = { tenant: 7 };

/** Changes of a receipt. */
const FORGERIES: readonly Partial<ErasureReceipt>[] = [
  ...[
    { kind: 'person' },
    { scope: '8' },
    { reason: 'x' },
    { actor: 'eve' },
    { markId: 'a'.repeat(16) },
  ],
  ...[{ requestedAt: '2020-01-01T00:00:00.000Z' }, { erasedAt: '2020-01-01T00:00:00.000Z' }],
  ...[{ keyIds: [] }, { columns: [] }, { replays: 'a'.repeat(64) }, { seal: '' }],
  { branchId: 'a'.repeat(16) },
];

function patient(tenantId: number): Patient {
  const values = { tenantId, ssn: `canary ${String(tenantId)}`, login: `l-${String(tenantId)}` };
  return Object.assign(new Patient(), values);
}

describeDiagonal('After the erasure of a scope', (database) => {
  const cleanup = new Cleanup();
  let created: TestDatabase;
  let dataSource: DataSource;
  afterEach(() => cleanup.run());

  beforeEach(async () => {
    created = await cleanup.create(database, { entities: [Patient], synchronize: true });
    dataSource = await open();
    await dataSource.manager.insert(Patient, [patient(7), patient(8)]);
  });

  async function open(options: Partial<FieldEncryptionOptions> = {}): Promise<DataSource> {
    return cleanup.add(await protect(created, options).initialize());
  }

  async function shred(source = dataSource): Promise<ErasureReceipt> {
    const { keys } = fieldEncryption(source);
    const erasure = await keys.shred({ scope: SCOPE, reason: 'request 1', graceMs: 0 });
    if (erasure.state !== 'erased') throw new Error('not erased');
    return erasure.receipt;
  }

  const keyRows = (): Promise<KeyRow[]> =>
    dataSource.query(`SELECT * FROM field_encryption_scope_keys WHERE scope = '7'`);

  const setKey = (id: string, { state, sealed, since }: KeyRow): Promise<unknown> =>
    dataSource.query(
      `UPDATE field_encryption_scope_keys SET state = '${state}', sealed = '${sealed}', since = '${since}' WHERE id = '${id}'`,
    );

  const find = async (tenantId: number, source?: DataSource): Promise<Patient | null> =>
    (source ?? (await open())).manager.findOneBy(Patient, { tenantId });

  it('nothing of it is decrypted by whatever is left, and all of others', async () => {
    const [row] = await dataSource.query<{ ssn: string }[]>(
      sqlOf(database, 'SELECT ssn FROM patient WHERE "tenantId" = 7'),
    );
    const stored = String(row?.ssn);
    await shred();
    const dump = await keyRows();
    // No key of it holds anything any more, and its marks hold no key.
    for (const { purpose, sealed } of dump) {
      expect(['data', 'index'].includes(purpose) ? sealed : '').toBe('');
    }
    const { keys } = installationOf(await open());
    const policy: FieldPolicy = {
      ...{ entity: 'Patient', property: 'ssn', fieldId: 'Patient.ssn', coerce: false },
      ...{ keyName: 'branch', boundTo: ['tenantId'] },
      type: 'string',
      storage: 'text',
      ...{
        readsUnbound: true,
        isScoped: false,
        readsUnscoped: false,
        isSealed: false,
        maxValueBytes: DEFAULT_MAX_VALUE_BYTES,
        columnLength: undefined,
      },
    };
    const context = new RowContextForm([{ kind: 'scope', name: 'tenant' }]).of(() => utf8('7'));
    const all = await keys.list();
    const others = await dataSource.query<{ id: string }[]>(
      `SELECT id FROM field_encryption_scope_keys WHERE scope <> '7' AND purpose = 'data'`,
    );
    await keys.prepare(['branch', 'default'], { index: true });
    let tried = 0;
    for (const { id } of [...all, ...others]) {
      const prefix = Buffer.from([1, ...Buffer.from(id, 'hex')]).toString('base64url');
      await keys.load([prefix]);
      const key = keys.keyByPrefix(prefix);
      tried += 1;
      const cipher = new FieldCipher(policy, 'default', {
        activeKey: () => key,
        keyByPrefix: () => key,
        indexRoots: () => keys.indexRoots(),
      });
      for (const value of [stored, `AQ${stored.slice(2)}`]) {
        expect(() => cipher.decrypt(value, context)).toThrow(DecryptionError);
      }
    }
    expect(tried).toBeGreaterThanOrEqual(2);
    expect(await find(8)).toMatchObject({ ssn: 'canary 8', login: 'l-8' });
    await expect(find(7)).rejects.toBeInstanceOf(ErasedError);
  });

  it('no version of its keys is left', async () => {
    const { keys } = fieldEncryption(dataSource);
    await keys.rotateScope(SCOPE);
    await dataSource.manager.insert(Patient, patient(7));
    await keys.rotateScope(SCOPE);
    await dataSource.manager.insert(Patient, patient(7));
    const receipt = await shred();
    expect(receipt.keyIds).toHaveLength(4);
    expect(receipt.columns).toContainEqual({
      entity: 'Patient',
      property: 'ssn',
      rows: 3,
      tokens: [],
    });
    const sealed = (await keyRows()).filter(({ purpose }) => ['data', 'index'].includes(purpose));
    expect(sealed.map((row) => row.sealed)).toEqual(['', '', '', '']);
    const reader = await open();
    for (const { id } of await dataSource.query<{ id: string }[]>('SELECT id FROM patient')) {
      const found = reader.manager.findOneBy(Patient, { id }).catch((error: unknown) => error);
      const isOther = (await found) instanceof Patient;
      if (isOther) expect(await found).toMatchObject({ tenantId: 8 });
      else expect(await found).toBeInstanceOf(ErasedError);
    }
    const encryption = fieldEncryption(reader);
    const status = await encryption.status();
    expect(status.find(({ property }) => property === 'ssn')?.scopes).toMatchObject({
      ...{ activeRows: 1, olderRows: 0, erasedRows: 3 },
    });
    expect(status.due).toEqual([]);
    expect(await encryption.verify()).toMatchObject({ failed: 0, erased: 3 });
    expect(await encryption.reencrypt()).toMatchObject({ failed: 0, changed: 0 });
    await expect(reader.manager.insert(Patient, patient(7))).rejects.toBeInstanceOf(ErasedError);
  });

  it('its tokens of common indexes are gone, and those of others are not', async () => {
    const receipt = await shred();
    expect(receipt.columns).toEqual([
      { entity: 'Patient', property: 'ssn', rows: 1, tokens: [] },
      { entity: 'Patient', property: 'login', rows: 1, tokens: ['login_bidx'] },
    ]);
    expect(await dataSource.manager.countBy(Patient, { login: 'l-7' })).toBe(0);
    expect(await dataSource.manager.countBy(Patient, { login: 'l-8' })).toBe(1);
    expect(await fieldEncryption(dataSource).keys.isRecorded(receipt)).toBe(true);
    expect(await fieldEncryption(dataSource).audit.verify()).toMatchObject({ ok: true });
    for (const forged of FORGERIES) {
      const other = { ...receipt, ...forged };
      expect(await fieldEncryption(dataSource).keys.isRecorded(other)).toBe(false);
    }
    const [first, ...columns] = receipt.columns;
    for (const fuller of [
      { ...receipt, note: 'added' },
      { ...receipt, [Symbol('note')]: 'added' },
      { ...receipt, columns: [{ ...first!, note: 'added' }, ...columns] },
    ]) {
      const { keys } = fieldEncryption(dataSource);
      await expect(keys.isRecorded(fuller)).rejects.toBeInstanceOf(UnsupportedValueError);
      await expect(keys.replayShred([fuller])).rejects.toBeInstanceOf(ConfigurationError);
    }
  });

  it('its receipt is returned again by whoever calls for it, as it was', async () => {
    const receipt = await shred();
    const [before] = (await keyRows()).filter(({ purpose }) => purpose === 'erasure');
    const other = await open();
    const { audit, keys } = fieldEncryption(other);
    const entries = (await audit.list({ operation: 'shred' })).length;
    expect(await keys.shred({ scope: SCOPE, reason: 'request 2' })).toEqual({
      state: 'erased',
      receipt,
    });
    expect(await keys.isRecorded(await shred(other))).toBe(true);
    await keys.rotate('branch');
    expect(await keys.resealScopes()).toMatchObject({ failures: [] });
    expect(await shred(await open())).toEqual(receipt);
    // Nothing was erased, and nothing recorded.
    expect(await audit.list({ operation: 'shred' })).toHaveLength(entries);
    // Nobody who only writes to the database can have it made up.
    await setKey(String(before?.id), { ...(before as KeyRow), since: '2020-01-01T00:00:00.000Z' });
    await expect(shred(await open())).rejects.toBeInstanceOf(KeyUnwrapError);
  });

  it('its receipt is sealed in its mark: no cell of the table shows it', async () => {
    const receipt = await shred();
    const dump = JSON.stringify(await keyRows());
    for (const text of [
      'request 1',
      receipt.seal,
      Buffer.from('request 1').toString('base64url'),
    ]) {
      expect(dump).not.toContain(text);
    }
    // A mark that poses as a key is still one, however long it is.
    await dataSource.query(
      `UPDATE field_encryption_scope_keys SET purpose = 'data', version = 9, state = 'deactivated' WHERE purpose = 'erasure'`,
    );
    await expect(shred(await open())).rejects.toBeInstanceOf(KeyUnwrapError);
  });

  it('it is erased with its tokens where nothing is recorded', async () => {
    const unrecorded = await open({ audit: false });
    const { keys } = fieldEncryption(unrecorded);
    await keys.hold({ scope: { tenant: 8 }, reason: 'case 1' });
    const { columns } = await shred(unrecorded);
    expect(columns.map(({ property, rows, tokens }) => [property, rows, tokens.length])).toEqual([
      ['ssn', 1, 0],
      ['login', 1, 1],
    ]);
    expect(await shred(unrecorded)).toMatchObject({ columns });
    expect(await unrecorded.manager.countBy(Patient, { login: 'l-7' })).toBe(0);
  });

  it('it is not erased twice, gets no new key, and an unknown one is refused', async () => {
    await shred();
    const { keys } = fieldEncryption(dataSource);
    await expect(keys.cancelShred({ scope: SCOPE, reason: 'r' })).rejects.toMatchObject({
      code: 'ERR_KEY_STATE',
    });
    await expect(keys.rotateScope(SCOPE)).rejects.toBeInstanceOf(ErasedError);
    for (const source of [dataSource, await open()]) {
      await expect(source.manager.insert(Patient, patient(7))).rejects.toBeInstanceOf(ErasedError);
      await expect(
        source.manager.countBy(Patient, { tenantId: 7, ssn: 'x' }),
      ).rejects.toBeInstanceOf(ErasedError);
    }
    await expect(keys.shred({ scope: { tenant: 70 }, reason: 'r' })).rejects.toThrow('has no keys');
  });

  it('its values are NULL where the options say so, and only by a genuine mark', async () => {
    const row = patient(7);
    await dataSource.manager.insert(Patient, row);
    await shred();
    const lenient = await open({ onErased: 'null' });
    const rows = await lenient.manager.find(Patient, { order: { tenantId: 'ASC' } });
    expect(rows.map(({ ssn }) => ssn)).toEqual([null, null, 'canary 8']);
    await dataSource.query(`DELETE FROM field_encryption_scope_keys WHERE purpose = 'erasure'`);
    await expect(find(7, await open({ onErased: 'null' }))).rejects.toBeInstanceOf(KeyUnwrapError);
  });

  it('a deleted, edited or replayed mark is an error', async () => {
    let aheadMs = 0;
    moveDatabaseClock(dataSource, () => aheadMs);
    const pending = fieldEncryption(dataSource).keys;
    await pending.shred({ scope: SCOPE, reason: 'request 1', graceMs: 60_000 });
    const requested = (await keyRows()).find(({ purpose }) => purpose === 'erasure')!;
    aheadMs = 120_000;
    await shred();
    const mark = (await keyRows()).find(({ purpose }) => purpose === 'erasure')!;
    for (const forged of [
      requested,
      { ...mark, state: 'active' },
      { ...mark, since: '2020-01-01T00:00:00.000Z' },
      { ...mark, sealed: '' },
    ]) {
      await setKey(mark.id, forged);
      await expect(find(7)).rejects.toBeInstanceOf(KeyUnwrapError);
      await expect((await open()).manager.insert(Patient, patient(7))).rejects.toBeInstanceOf(
        FieldEncryptionError,
      );
    }
    await setKey(mark.id, mark);
    await expect(find(7)).rejects.toBeInstanceOf(ErasedError);
    await dataSource.query(`DELETE FROM field_encryption_scope_keys WHERE purpose = 'erasure'`);
    await expect(find(7)).rejects.toBeInstanceOf(KeyUnwrapError);
    const inserting = (await open()).manager.insert(Patient, patient(7));
    await expect(inserting).rejects.toBeInstanceOf(KeyUnwrapError);
  });

  it('a forged mark erases nothing, and a mark of another scope is no mark of this one', async () => {
    await shred();
    await dataSource.query(
      `UPDATE field_encryption_scope_keys SET scope = '8' WHERE scope = '7' AND purpose = 'erasure'`,
    );
    await expect(find(8)).rejects.toBeInstanceOf(KeyUnwrapError);
    await expect(find(7)).rejects.toBeInstanceOf(KeyUnwrapError);
  });

  it('an erased mark that was edited to be void is an error, even with the keys put back', async () => {
    const before = await keyRows();
    await shred();
    for (const row of before) await setKey(row.id, row);
    await dataSource.query(
      `UPDATE field_encryption_scope_keys SET state = 'deactivated' WHERE purpose = 'erasure'`,
    );
    await expect(find(7)).rejects.toBeInstanceOf(KeyUnwrapError);
    const inserting = (await open()).manager.insert(Patient, patient(7));
    await expect(inserting).rejects.toBeInstanceOf(KeyUnwrapError);
  });

  const editMark = (edit: string): Promise<unknown> =>
    dataSource.query(
      `UPDATE field_encryption_scope_keys SET ${edit} WHERE purpose NOT IN ('data', 'index')`,
    );

  it.each([
    `state = 'deactivated'`,
    `purpose = 'other'`,
    `purpose = 'data', state = 'deactivated', version = 9`,
    `since = '2020-01-01T00:00:00.000Z'`,
  ])('a hold is not voided by %s', async (edit) => {
    const { keys } = fieldEncryption(dataSource);
    await keys.hold({ scope: SCOPE, reason: 'case 1' });
    await editMark(edit);
    await expect(shred(await open())).rejects.toBeInstanceOf(KeyUnwrapError);
    const releasing = keys.release({ scope: SCOPE, reason: 'r' });
    await expect(releasing).rejects.toBeInstanceOf(KeyUnwrapError);
    expect((await keyRows()).filter(({ sealed }) => sealed === '')).toEqual([]);
  });

  it.each([`state = 'deactivated'`, `purpose = 'hold'`, `purpose = 'other'`])(
    'a requested erasure is not voided by %s',
    async (edit) => {
      const { keys } = fieldEncryption(dataSource);
      await keys.shred({ scope: SCOPE, reason: 'request 1', graceMs: 60_000 });
      await editMark(edit);
      const other = await open();
      const inserting = other.manager.insert(Patient, patient(7));
      await expect(inserting).rejects.toBeInstanceOf(KeyUnwrapError);
      await expect(shred(other)).rejects.toBeInstanceOf(KeyUnwrapError);
    },
  );

  it('marks that are void by right keep nothing from being read, written or erased', async () => {
    const { keys } = fieldEncryption(dataSource);
    await keys.hold({ scope: SCOPE, reason: 'case 1' });
    await keys.release({ scope: SCOPE, reason: 'closed' });
    await keys.shred({ scope: SCOPE, reason: 'request 1', graceMs: 60_000 });
    await keys.cancelShred({ scope: SCOPE, reason: 'a mistake' });
    const other = await open();
    await other.manager.insert(Patient, patient(7));
    expect(await other.manager.findBy(Patient, { tenantId: 7 })).toHaveLength(2);
    await shred(other);
    await expect(find(7)).rejects.toBeInstanceOf(ErasedError);
  });

  it('a key row from a backup is not used beside the mark', async () => {
    const before = await keyRows();
    await shred();
    for (const row of before) await setKey(row.id, row);
    await expect(find(7)).rejects.toBeInstanceOf(ErasedError);
    await expect((await open()).manager.insert(Patient, patient(7))).rejects.toBeInstanceOf(
      ErasedError,
    );
  });

  describe('a restored backup', () => {
    let receipt: ErasureReceipt;

    /** Erases the scope, and puts the keys back that it had when `holding` was done. */
    async function erasedAndRestored(holding: 'held' | 'free'): Promise<void> {
      const { keys } = fieldEncryption(dataSource);
      await keys.hold({ scope: SCOPE, reason: 'case 1' });
      if (holding === 'free') await keys.release({ scope: SCOPE, reason: 'closed' });
      const before = await keyRows();
      if (holding === 'held') await keys.release({ scope: SCOPE, reason: 'closed' });
      receipt = await shred();
      await dataSource.query(
        `DELETE FROM field_encryption_scope_keys WHERE scope = '7' AND purpose = 'erasure'`,
      );
      for (const row of before) await setKey(row.id, row);
      expect(await find(7)).toMatchObject({ ssn: 'canary 7' });
    }

    it('is erased again by its receipt, with a new one that names it', async () => {
      await erasedAndRestored('free');
      const { audit, keys } = fieldEncryption(await open());
      const report = await keys.replayShred([receipt, receipt]);
      expect(report).toMatchObject({
        erased: [{ scope: '7', keyIds: receipt.keyIds }],
        stillErased: [receipt],
        held: [],
      });
      const [again] = report.erased;
      const entries = await audit.list({ operation: 'shred' });
      const digests = entries.filter(({ outcome }) => outcome === 'done').map((e) => e.reference);
      expect(digests.at(-2)).toBe(again?.replays);
      expect(again && (await keys.isRecorded(again))).toBe(true);
      expect(await keys.replayShred([receipt])).toEqual({
        ...{ erased: [], held: [], unproven: [], stillErased: [receipt] },
      });
      await expect(find(7)).rejects.toBeInstanceOf(ErasedError);
      expect(await find(8)).toMatchObject({ ssn: 'canary 8' });
    });

    it('is not erased while a legal hold has come back with it', async () => {
      await erasedAndRestored('held');
      await fieldEncryption(dataSource).keys.shred({
        ...{ scope: { tenant: 8 }, reason: 'request 2', graceMs: 0 },
      });
      const { keys } = fieldEncryption(await open());
      expect(await keys.replayShred([receipt])).toEqual({
        ...{ erased: [], stillErased: [], unproven: [], held: [receipt] },
      });
      expect(await find(7)).toMatchObject({ ssn: 'canary 7' });
      await keys.release({ scope: SCOPE, reason: 'closed' });
      expect((await keys.replayShred([receipt])).erased).toHaveLength(1);
    });

    it('is not erased by a receipt that was edited, made up, or is of another application', async () => {
      await erasedAndRestored('free');
      const { keys } = fieldEncryption(await open());
      for (const forged of FORGERIES.filter(({ branchId }) => branchId === undefined)) {
        const other = { ...receipt, ...forged };
        const replaying = keys.replayShred([receipt, other]);
        await expect(replaying).rejects.toBeInstanceOf(FieldEncryptionError);
      }
      const unsealed = { ...receipt, seal: undefined };
      for (const value of [unsealed, null, [], { ...receipt, keyIds: 'x' }]) {
        await expect(keys.replayShred([receipt, value as never])).rejects.toMatchObject({
          code: 'ERR_CONFIGURATION',
        });
      }
      await expect(
        keys.replayShred([receipt, { ...receipt, application: 'another' }]),
      ).rejects.toMatchObject({ code: 'ERR_KEY_STATE' });
      const unproven = { ...receipt, branchId: 'a'.repeat(16) };
      expect(await keys.replayShred([unproven])).toMatchObject({
        ...{ erased: [], unproven: [unproven] },
      });
      expect(await find(7)).toMatchObject({ ssn: 'canary 7' });
      expect(await find(8)).toMatchObject({ ssn: 'canary 8' });
    });
  });

  it('a request keeps the time from which it is possible, whatever a later call says', async () => {
    let aheadMs = 0;
    moveDatabaseClock(dataSource, () => aheadMs);
    const { audit, keys } = fieldEncryption(dataSource);
    const requested = await keys.shred({
      scope: SCOPE,
      reason: 'first',
      delayMs: 600_000,
      graceMs: 0,
    });
    if (requested.state !== 'requested') throw new Error('erased at once');
    aheadMs = 500_000;
    expect(await keys.shred({ scope: SCOPE, reason: 'first', graceMs: 0 })).toEqual(requested);
    const other = keys.shred({ scope: SCOPE, reason: 'second', graceMs: 0 });
    await expect(other).rejects.toThrow('for another reason');
    const later = await keys.shred({ scope: SCOPE, reason: 'first', delayMs: 1_200_000 });
    expect(later.state === 'requested' && later.erasableFrom > requested.erasableFrom).toBe(true);
    aheadMs = 700_000;
    const erased = await keys.shred({ scope: SCOPE, reason: 'first', graceMs: 0 });
    expect(erased).toMatchObject({ state: 'erased', receipt: { reason: 'first' } });
    const [first, last] = await audit.list({ operation: 'shred' });
    expect(first).toMatchObject({ outcome: 'started', reference: 'first', keyPurpose: 'erasure' });
    // One mark, which the receipt names, too.
    expect(erased).toMatchObject({ receipt: { markId: first?.keyId } });
    expect(last).toMatchObject({ outcome: 'done', keyId: first?.keyId });
  });

  it('is looked up, and read, until it is erased, and nothing is written for it', async () => {
    const { keys } = fieldEncryption(dataSource);
    await keys.shred({ scope: SCOPE, reason: 'request 1', delayMs: 600_000 });
    for (const source of [dataSource, await open()]) {
      const where = { tenantId: 7, ssn: 'canary 7' };
      expect(await source.manager.findOneBy(Patient, where)).toMatchObject({ ssn: 'canary 7' });
      expect(await source.manager.countBy(Patient, where)).toBe(1);
      await expect(source.manager.insert(Patient, patient(7))).rejects.toBeInstanceOf(ErasedError);
      await expect(
        source.manager.update(Patient, { tenantId: 7 }, { ssn: 'canary new' }),
      ).rejects.toBeInstanceOf(ErasedError);
    }
  });

  it('the audit log names a scope by its mark, and never by its id', async () => {
    const { audit, keys } = fieldEncryption(dataSource);
    const scope = { tenant: 8 };
    await keys.hold({ scope, reason: 'case 1' });
    await keys.release({ scope, reason: 'closed' });
    await keys.shred({ scope, reason: 'request 1' });
    await keys.cancelShred({ scope, reason: 'mistake' });
    const marks = await dataSource.query<KeyRow[]>(
      `SELECT * FROM field_encryption_scope_keys WHERE scope = '8'`,
    );
    const idOf = (of: string): string | undefined =>
      marks.find(({ purpose }) => purpose === of)?.id;
    for (const [operation, purpose] of [
      ...[['hold', 'hold'] as const, ['release', 'hold'] as const],
      ...[['shred', 'erasure'] as const, ['cancelShred', 'erasure'] as const],
    ]) {
      const [entry] = await audit.list({ operation });
      expect(entry).toMatchObject({ keyId: idOf(purpose), keyName: 'tenant', keyPurpose: purpose });
      expect(entry).toMatchObject({ keyState: null, keyVersion: 1 });
    }
    expect(await audit.verify()).toMatchObject({ ok: true });
  });

  it('an erased scope gets no hold, and a held one no second', async () => {
    const { keys } = fieldEncryption(dataSource);
    await keys.hold({ scope: { tenant: 8 }, reason: 'case 1' });
    await expect(keys.hold({ scope: { tenant: 8 }, reason: 'case 2' })).rejects.toThrow(
      'under a legal hold already',
    );
    await shred();
    await expect(keys.hold({ scope: SCOPE, reason: 'case 1' })).rejects.toThrow('was erased at');
  });

  it('a process that had the key in memory writes nothing more with it', async () => {
    const keyCache = { ttlMs: 100, maxAgeMs: 1000 };
    const other = await open({ keyCache });
    await other.manager.insert(Patient, patient(7));
    const owner = await open({ keyCache });
    let aheadMs = 0;
    moveDatabaseClock(owner, () => aheadMs);
    const { keys } = fieldEncryption(owner);
    const options = { scope: SCOPE, reason: 'request 1' };
    expect(await keys.shred(options)).toMatchObject({ state: 'requested' });
    let written = 3;
    let refused: unknown;
    // By the key in memory, until it has noticed.
    while (refused === undefined) {
      const writing = other.manager.insert(Patient, patient(7));
      await writing.then(
        () => (written += 1),
        (error: unknown) => (refused = error),
      );
    }
    expect(refused).toBeInstanceOf(ErasedError);
    expect(await keys.shred(options)).toMatchObject({ state: 'requested' });
    expect(await other.manager.findBy(Patient, { tenantId: 7 })).toHaveLength(written - 1);
    aheadMs = 60_000;
    expect(await keys.shred(options)).toMatchObject({
      receipt: { columns: [{ rows: written - 1 }, { rows: written - 1 }] },
    });
    await expect(other.manager.insert(Patient, patient(7))).rejects.toBeInstanceOf(ErasedError);
    expect(await owner.manager.count(Patient)).toBe(written);
    await expect(find(7)).rejects.toBeInstanceOf(ErasedError);
    expect(await fieldEncryption(owner).verify()).toMatchObject({ failed: 0 });
  });
});
