import { randomUUID } from 'node:crypto';
import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { DataSource } from 'typeorm';
import {
  BlindIndex,
  Encrypted,
  ErasedError,
  fieldEncryption,
  FieldEncryptionError,
  KeyScope,
  KeyUnwrapError,
} from '../../src';
import type { FieldEncryptionOptions } from '../../src';
import { moveDatabaseClock } from '../support/database-clock';
import { describeDiagonal } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { Cleanup, protect, rejection } from '../support/protected-database';

@Entity()
class Patient {
  @PrimaryColumn('uuid') id: string = randomUUID();
  @KeyScope({ kind: 'tenant' }) @Column() tenantId!: number;
  @Encrypted() @BlindIndex() ssn!: string;
}

const SCOPE = { tenant: 7 };

function patient(tenantId: number): Patient {
  return Object.assign(new Patient(), { tenantId, ssn: `canary ${String(tenantId)}` });
}

describeDiagonal('A row of the table of scope keys', (database) => {
  const cleanup = new Cleanup();
  let created: TestDatabase;
  let dataSource: DataSource;
  afterEach(() => cleanup.run());

  async function begin(options: Partial<FieldEncryptionOptions> = {}): Promise<void> {
    created = await cleanup.create(database, { entities: [Patient], synchronize: true });
    dataSource = await open(options);
    await dataSource.manager.insert(Patient, [patient(7), patient(8)]);
  }

  /** A process that has read no key yet. */
  async function open(options: Partial<FieldEncryptionOptions> = {}): Promise<DataSource> {
    return cleanup.add(await protect(created, options).initialize());
  }

  const markOf = async (purpose: string): Promise<Record<string, string>> => {
    const [row] = await dataSource.query<Record<string, string>[]>(
      `SELECT * FROM field_encryption_scope_keys WHERE purpose = '${purpose}'`,
    );
    if (row === undefined) throw new Error('there is no mark');
    return row;
  };

  const putBack = async (row: Record<string, string>): Promise<void> => {
    const cells = ['state', 'since', 'sealed', 'branch_id'].map(
      (name) => `${name} = '${row[name]}'`,
    );
    await dataSource.query(
      `UPDATE field_encryption_scope_keys SET ${cells.join(', ')} WHERE id = '${row['id']}'`,
    );
  };

  const shred = (of = dataSource): Promise<unknown> =>
    fieldEncryption(of).keys.shred({ scope: SCOPE, reason: 'request 1', graceMs: 0 });

  describe('that was put back', () => {
    /** Requests an erasure, cancels it, and puts the row of the request back. */
    async function cancelAndPutBack(): Promise<void> {
      const { keys } = fieldEncryption(dataSource);
      await keys.shred({ scope: SCOPE, reason: 'a mistake', graceMs: 1 });
      const request = await markOf('erasure');
      await keys.cancelShred({ scope: SCOPE, reason: 'cancelled' });
      await putBack(request);
    }

    it('lets no erasure go on that was cancelled', async () => {
      await begin();
      await cancelAndPutBack();
      const error = await rejection(shred(await open()));
      expect(error).toMatchObject({ code: 'ERR_KEY_STATE', retryable: false });
      expect(error.message).toContain('"cancelShred" as the last entry');
      expect(await dataSource.manager.findBy(Patient, { tenantId: 7 })).toHaveLength(1);
      const { keys } = fieldEncryption(dataSource);
      await keys.cancelShred({ scope: SCOPE, reason: 'once more' });
      expect(await shred()).toMatchObject({ state: 'erased' });
    });

    it('lets one go on where nothing is recorded', async () => {
      await begin({ audit: false });
      let aheadMs = 0;
      moveDatabaseClock(dataSource, () => aheadMs);
      await cancelAndPutBack();
      aheadMs = 60_000;
      expect(await shred()).toMatchObject({ state: 'erased' });
    });

    it('is not the request that an entry without a genuine seal tells of', async () => {
      await begin();
      await fieldEncryption(dataSource).keys.shred({ scope: SCOPE, reason: 'r', delayMs: 60_000 });
      const { id } = await markOf('erasure');
      await dataSource.query(
        `UPDATE field_encryption_audit SET reference = 'another' WHERE key_id = '${id}'`,
      );
      const { keys } = fieldEncryption(await open());
      await expect(keys.shred({ scope: SCOPE, reason: 'r' })).rejects.toThrow('no entry');
    });

    it('is no legal hold once that was released', async () => {
      await begin();
      const { keys } = fieldEncryption(dataSource);
      await keys.hold({ scope: SCOPE, reason: 'case 1' });
      const hold = await markOf('hold');
      await keys.release({ scope: SCOPE, reason: 'closed' });
      await putBack(hold);
      await expect(shred()).rejects.toThrow('"release" as the last entry');
      await keys.release({ scope: SCOPE, reason: 'once more' });
      expect(await shred()).toMatchObject({ state: 'erased' });
    });
  });

  const edit = (purpose: string, column: string, cell: string): Promise<unknown> =>
    dataSource.query(
      `UPDATE field_encryption_scope_keys SET ${column} = ${cell} WHERE scope = '7' AND purpose = '${purpose}'`,
    );

  describe.each(['data', 'index', 'hold'])('with an edited cell of the %s row', (purpose) => {
    it.each([
      ['id', `'zz'`],
      ['purpose', `'made up'`],
      ['state', `'made up'`],
      ['version', '-3'],
      ['suite', `'made up'`],
      ['since', `'never'`],
      ['sealed', `'***'`],
      ['branch_id', `'nope'`],
      ['prefix', `'AgAAAAAAAAAA'`],
    ])('%s is an error of its scope, and of no other', async (column, cell) => {
      await begin();
      await fieldEncryption(dataSource).keys.hold({ scope: SCOPE, reason: 'case 1' });
      await edit(purpose, column, cell);
      const other = await open();
      const encryption = fieldEncryption(other);
      const { keys } = encryption;
      const report = await encryption.verify();
      expect(report.scanned).toBe(2);
      expect(report.failed).toBeLessThanOrEqual(1);
      expect(await other.manager.findBy(Patient, { tenantId: 8, ssn: 'canary 8' })).toHaveLength(1);
      await other.manager.insert(Patient, patient(8));
      for (const work of [shred(other), keys.shred({ scope: SCOPE, reason: 'again' })]) {
        expect(await rejection(work)).toBeInstanceOf(FieldEncryptionError);
      }
      const [{ rotated, failures } = { rotated: 0, failures: [] }] = await keys.rotateScopes({
        kind: 'tenant',
      });
      expect(rotated + failures.length).toBeGreaterThanOrEqual(1);
      expect(await keys.scopeStatus([{ tenant: 8 }])).toMatchObject([{ held: false }]);
      const status = await keys.scopeStatus([SCOPE]).catch((error: unknown) => error);
      if (!Array.isArray(status)) expect(status).toBeInstanceOf(FieldEncryptionError);
    });
  });

  it('with the prefix of another key is an error, before a run would leave its values out', async () => {
    await begin();
    const other = `(SELECT prefix FROM field_encryption_scope_keys WHERE scope = '8' AND purpose = 'data')`;
    await edit('data', 'prefix', other);
    const { manager } = await open();
    for (const work of [
      () => manager.findBy(Patient, { tenantId: 7 }),
      () => manager.insert(Patient, patient(7)),
      () => fieldEncryption(dataSource).keys.rotateScope(SCOPE),
    ]) {
      const error = await rejection(work());
      expect(error).toBeInstanceOf(KeyUnwrapError);
      expect(error.message).toContain('prefix');
    }
    expect(await manager.findBy(Patient, { tenantId: 8 })).toHaveLength(1);
  });

  it('of an index key that was edited makes look-ups fail rather than find nothing', async () => {
    await begin();
    for (const [column, cell] of [
      ['state', `'deactivated'`],
      ['purpose', `'made up'`],
    ] as const) {
      await edit('index', column, cell);
      const other = await open();
      const looking = other.manager.countBy(Patient, { tenantId: 7, ssn: 'canary 7' });
      await expect(looking).rejects.toBeInstanceOf(KeyUnwrapError);
      await expect(other.manager.insert(Patient, patient(7))).rejects.toBeInstanceOf(
        KeyUnwrapError,
      );
      expect(await fieldEncryption(other).verify()).toMatchObject({ failed: 1 });
    }
  });

  it.each([
    ['is gone', `DELETE FROM field_encryption_scope_keys`],
    ['names another scope', `UPDATE field_encryption_scope_keys SET scope = '9'`],
  ])('of an index key that %s is noticed by a verification', async (_, sql) => {
    await begin();
    await dataSource.query(`${sql} WHERE scope = '7' AND purpose = 'index'`);
    const other = await open();
    expect(await other.manager.countBy(Patient, { tenantId: 7, ssn: 'canary 7' })).toBe(0);
    const report = await fieldEncryption(other).verify();
    expect(report).toMatchObject({ scanned: 2, failed: 1 });
    expect(report.failures).toMatchObject([{ property: 'ssn', code: 'MISSING_INDEX_KEY' }]);
  });

  it('of an erased scope keeps the place of keys that it never had', async () => {
    await begin();
    await shred();
    await expect((await open()).manager.insert(Patient, patient(7))).rejects.toBeInstanceOf(
      ErasedError,
    );
  });
});
