import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { DataSource } from 'typeorm';
import {
  Encrypted,
  fieldEncryption,
  KeyScope,
  KmsUnavailableError,
  localKms,
  OwnBranchNotFoundError,
} from '../../src';
import type { DataKeys, FieldEncryptionOptions, KeyInfo, KmsProvider } from '../../src';
import { errorReport } from '../../src/cli/terminal/output';
import { describeDiagonal } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { StatementLog } from '../support/statement-log';
import { Cleanup, keyFileKms, protect, rejection } from '../support/protected-database';
import { watchedKms } from '../support/watched-kms';

@Entity()
class Patient {
  @PrimaryColumn('uuid') id: string = randomUUID();
  @KeyScope({ kind: 'tenant' }) @Column() tenantId!: number;
  @Encrypted() ssn!: string;
  @Column({ default: '' }) ward!: string;
}

function patient(tenantId: number): Patient {
  return Object.assign(new Patient(), { tenantId, ssn: `canary ${String(tenantId)}` });
}

describeDiagonal('A KMS of its own', (database) => {
  const cleanup = new Cleanup();
  const folder = mkdtempSync(join(tmpdir(), 'field-encryption-key-'));
  const own = keyFile('tenant');
  let created: TestDatabase;
  let isAway = false;

  afterAll(() => {
    rmSync(folder, { recursive: true, force: true });
  });
  afterEach(() => cleanup.run());
  beforeEach(async () => {
    isAway = false;
    created = await cleanup.create(database, { entities: [Patient], synchronize: true });
  });

  function keyFile(name: string): KmsProvider {
    const file = join(folder, name);
    writeFileSync(file, randomBytes(32).toString('hex'), { mode: 0o600 });
    return localKms({ keyFile: file });
  }

  /** The KMS of tenant 7, which can be withdrawn. */
  const tenantKms = watchedKms(own, () => {
    if (isAway) throw new KmsUnavailableError('withdrawn');
  });

  async function open(
    options: Partial<FieldEncryptionOptions> = {},
    logger = new StatementLog(),
  ): Promise<DataSource> {
    const common = keyFileKms();
    const kms: FieldEncryptionOptions['kms'] = (scope) => (scope?.id === '7' ? tenantKms : common);
    return cleanup.add(await protect(created, { kms, ...options }, { logger }).initialize());
  }

  async function filled(): Promise<DataSource> {
    const dataSource = await open();
    await dataSource.manager.insert(Patient, [patient(7), patient(8)]);
    return dataSource;
  }

  it('wraps the branch of its scope, and no other', async () => {
    const dataSource = await filled();
    const { keys } = fieldEncryption(dataSource);
    const names = (await keys.list()).map(({ name }) => name);
    expect(names.filter((name) => name.startsWith('branch:'))).toHaveLength(1);
    expect(await (await open()).manager.find(Patient)).toHaveLength(2);
    // Whoever has the common KMS alone reads nothing of the scope.
    const alone = await open({ kms: keyFileKms() });
    await expect(alone.manager.findBy(Patient, { tenantId: 7 })).rejects.toMatchObject({
      code: 'ERR_KMS_UNAVAILABLE',
    });
    expect(await alone.manager.findBy(Patient, { tenantId: 8 })).toHaveLength(1);
    const [branch = ''] = names.filter((name) => name.startsWith('branch:'));
    await expect(fieldEncryption(alone).keys.rotate(branch)).rejects.toMatchObject({
      code: 'ERR_KMS_UNAVAILABLE',
    });
  });

  it('fails for its rows alone while it is away', async () => {
    await filled();
    isAway = true;
    const dataSource = await open();
    const { manager } = dataSource;
    await expect(manager.findBy(Patient, { tenantId: 7 })).rejects.toBeInstanceOf(
      KmsUnavailableError,
    );
    await expect(manager.find(Patient)).rejects.toBeInstanceOf(KmsUnavailableError);
    expect(await manager.findBy(Patient, { tenantId: 8 })).toMatchObject([{ ssn: 'canary 8' }]);
    await expect(manager.insert(Patient, patient(7))).rejects.toBeInstanceOf(KmsUnavailableError);
    await expect(manager.insert(Patient, [patient(8), patient(7)])).rejects.toBeInstanceOf(
      KmsUnavailableError,
    );
    await manager.insert(Patient, patient(9));
    expect(await manager.count(Patient)).toBe(3);
    await expect(
      fieldEncryption(dataSource).keys.rotateScope({ tenant: 7 }),
    ).rejects.toBeInstanceOf(KmsUnavailableError);
  });

  it('leaves values out where the options say so, and a later save writes none', async () => {
    await filled();
    isAway = true;
    const log = new StatementLog();
    const dataSource = await open({ onUnavailable: 'omit' }, log);
    const found = await dataSource.manager.find(Patient, { order: { tenantId: 'ASC' } });
    expect(found.map(({ ssn }) => ssn)).toEqual([undefined, 'canary 8']);
    log.clear();
    await dataSource.manager.save(found);
    expect(log.writes()).toEqual([]);
    await dataSource.manager.save(found.map((row) => Object.assign(row, { ward: 'b' })));
    expect(log.writes().filter((sql) => sql.includes('ssn'))).toEqual([]);
    isAway = false;
    expect(
      await (await open()).manager.find(Patient, { order: { tenantId: 'ASC' } }),
    ).toMatchObject([
      { ssn: 'canary 7', ward: 'b' },
      { ssn: 'canary 8', ward: 'b' },
    ]);
  });

  it('is left alone by rewrap and backup', async () => {
    const dataSource = await filled();
    const { keys } = fieldEncryption(dataSource);
    const wrapped = async (): Promise<unknown> =>
      dataSource.query(`SELECT * FROM data_keys WHERE name LIKE 'branch:%'`);
    const before = await wrapped();
    isAway = true;
    const report = await keys.rewrap({ to: keyFile('next') });
    expect(report).toMatchObject({ failures: [], conflicts: 0 });
    expect(await wrapped()).toEqual(before);
    const [branch] = (await keys.list()).filter(({ name }) => name.startsWith('branch:'));
    const backup = await keys.backup({ shares: 3, threshold: 2 });
    expect(backup.leftOut).toEqual([{ id: branch?.id, name: branch?.name, version: 1 }]);
    isAway = false;
    expect(await dataSource.manager.find(Patient)).toHaveLength(2);
  });

  it('is asked by a verification of the audit log, though no row of its scope was used', async () => {
    const dataSource = await filled();
    const { keys } = fieldEncryption(dataSource);
    expect(await fieldEncryption(await open()).audit.verify()).toMatchObject({
      ...{ ok: true, undecided: [], unproven: [] },
    });
    await keys.shred({ scope: { tenant: 7 }, reason: 'request 1', graceMs: 0 });
    const { audit } = fieldEncryption(await open());
    expect(await audit.verify()).toMatchObject({ ok: true, undecided: [] });
    isAway = true;
    const without = await fieldEncryption(await open()).audit.verify();
    expect(without).toMatchObject({ ok: false, undecided: [{ code: 'ERR_KMS_UNAVAILABLE' }] });
  });

  it('is asked by operations on its branch, though no row of its scope was used', async () => {
    const dataSource = await filled();
    const ofBranch = async (): Promise<KeyInfo[]> =>
      (await fieldEncryption(dataSource).keys.list()).filter(({ name }) =>
        name.startsWith('branch:'),
      );
    const operate = async (work: (keys: DataKeys) => Promise<unknown>): Promise<string[]> => {
      await work(fieldEncryption(await open()).keys);
      return (await ofBranch()).map(({ state }) => state);
    };
    const [{ id, name } = { id: '', name: '' }] = await ofBranch();
    expect(await operate((keys) => keys.suspend(id))).toEqual(['suspended']);
    expect(await operate((keys) => keys.resume(id))).toEqual(['active']);
    expect(await operate((keys) => keys.rotate(name))).toEqual(['deactivated', 'active']);
    expect(await operate((keys) => keys.revoke(id))).toEqual(['compromised', 'active']);
    expect(await operate((keys) => keys.resealScopes())).toEqual(['compromised', 'active']);
    expect(await operate((keys) => keys.destroy(id, { graceMs: 0 }))).toEqual([
      ...['destroyed', 'active'],
    ]);
    expect(await (await open()).manager.find(Patient)).toHaveLength(2);
    isAway = true;
    await expect(operate((keys) => keys.rotate(name))).rejects.toMatchObject({
      code: 'ERR_KMS_UNAVAILABLE',
    });
  });

  it('leaves no way back but a backup of the database, once its branch is gone', async () => {
    const dataSource = await filled();
    await dataSource.query(`DELETE FROM data_keys WHERE name LIKE 'branch:%'`);
    const { manager } = await open();
    for (const work of [
      () => manager.findBy(Patient, { tenantId: 7 }),
      () => manager.insert(Patient, patient(7)),
    ]) {
      const failure = await rejection(work);
      expect(failure).toBeInstanceOf(OwnBranchNotFoundError);
      expect(failure.message).toMatch(/[Nn]o backup of keys holds/);
      expect(errorReport(failure).remedy).not.toContain('keys restore');
      expect(failure.message).not.toContain('keys restore');
    }
    expect(await manager.findBy(Patient, { tenantId: 8 })).toHaveLength(1);
  });

  it('is moved to by a rotation of the scope and a run', async () => {
    const before = await open({ kms: keyFileKms() });
    await before.manager.insert(Patient, [patient(7), patient(8)]);
    const dataSource = await open();
    const encryption = fieldEncryption(dataSource);
    await encryption.keys.rotateScope({ tenant: 7 });
    expect(await encryption.reencrypt()).toMatchObject({ changed: 1, failed: 0 });
    isAway = true;
    await expect((await open()).manager.findBy(Patient, { tenantId: 7 })).rejects.toBeInstanceOf(
      KmsUnavailableError,
    );
    isAway = false;
    expect(await (await open()).manager.find(Patient)).toHaveLength(2);
  });
});

describeDiagonal('The branch key of scopes', (database) => {
  const cleanup = new Cleanup();
  afterEach(() => cleanup.run());

  it('is destroyed only once nothing hangs on it', async () => {
    const created = await cleanup.create(database, { entities: [Patient], synchronize: true });
    const dataSource = cleanup.add(await protect(created).initialize());
    const { manager } = dataSource;
    await manager.insert(Patient, [7, 8, 9].map(patient));
    const { keys } = fieldEncryption(dataSource);
    await keys.hold({ scope: { tenant: 9 }, reason: 'case 1' });
    await keys.shred({ scope: { tenant: 8 }, reason: 'r', graceMs: 0 });
    const [old] = (await keys.list()).filter(({ name }) => name === 'branch');
    await keys.rotate('branch');
    const id = String(old?.id);
    await expect(keys.destroy(id, { graceMs: 0 })).rejects.toMatchObject({ code: 'ERR_KEY_STATE' });
    await manager.insert(Patient, patient(10));
    // Two keys of scopes and two marks.
    expect(await keys.resealScopes()).toEqual({ resealed: 4, conflicts: 0, failures: [] });
    expect(await keys.resealScopes()).toEqual({ resealed: 0, conflicts: 0, failures: [] });
    await keys.destroy(id, { graceMs: 0 });
    const reader = cleanup.add(await protect(created).initialize());
    const found = await reader.manager.findBy(Patient, [
      { tenantId: 7 },
      { tenantId: 9 },
      { tenantId: 10 },
    ]);
    expect(found.map(({ ssn }) => ssn).sort()).toEqual(['canary 10', 'canary 7', 'canary 9']);
    await expect(reader.manager.findBy(Patient, { tenantId: 8 })).rejects.toMatchObject({
      code: 'ERR_ERASED',
    });
    await expect(
      fieldEncryption(reader).keys.shred({ scope: { tenant: 9 }, reason: 'r' }),
    ).rejects.toThrow('legal hold');
    await reader.manager.insert(Patient, [7, 9].map(patient));
  });
});
