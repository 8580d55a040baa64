import { Entity, PrimaryColumn } from 'typeorm';
import type { DataSource, Repository } from 'typeorm';
import {
  AccessDeniedError,
  ConfigurationError,
  Encrypted,
  fieldEncryption,
  KmsUnavailableError,
  runAs,
} from '../../src';
import type { AccessLevel, KmsProvider, UpkeepReport } from '../../src';
import { describeDiagonal } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { fastLocalKms, FakeKms } from '../support/key-fixtures';
import { Cleanup, protect, rejection } from '../support/protected-database';
import { approvalPolicy, SshSigner } from '../support/ssh-signer';
import { refuseRows } from '../support/refused-rows';

@Entity()
class Patient {
  @PrimaryColumn() id!: number;
  @Encrypted() ssn!: string;
}

describeDiagonal('maintain({ reencrypt, backup })', (kind) => {
  const cleanup = new Cleanup();
  let database: TestDatabase;
  let dataSource: DataSource;
  let backupKms: KmsProvider;

  beforeEach(async () => {
    backupKms = fastLocalKms('the passphrase of the backup');
    database = await cleanup.create(kind, { entities: [Patient], synchronize: true });
    dataSource = await cleanup.add(protect(database)).initialize();
    await patients().insert([
      { id: 1, ssn: 'canary-1' },
      { id: 2, ssn: 'canary-2' },
    ]);
  });
  afterEach(() => cleanup.run());

  const patients = (): Repository<Patient> => dataSource.getRepository(Patient);
  const keys = () => fieldEncryption(dataSource).keys;
  const operations = async (): Promise<string[]> =>
    (await fieldEncryption(dataSource).audit.list()).map(({ operation }) => operation);

  it('moves every row, and then makes a backup that reads them', async () => {
    await keys().rotate();
    const report = await keys().maintain({ reencrypt: true, backup: { kms: backupKms } });
    expect(report).toMatchObject({ failures: [], failedSteps: [] });
    expect(report.reencryption).toMatchObject({ changed: 2, failed: 0, remaining: 0 });
    expect(report.backup).toMatchObject({ keys: 3, shares: [] });
    expect((await operations()).slice(-1)).toEqual(['backup']);
    const { results } = await keys().drill(report.backup?.file ?? '', { kms: backupKms });
    expect(results.every(({ rows }) => rows > 0)).toBe(true);
  });

  it('does neither unless it is asked to', async () => {
    await keys().rotate();
    const report = await keys().maintain();
    expect(report).toMatchObject({ reencryption: null, backup: null, failedSteps: [] });
    expect((await operations()).slice(-1)).not.toContain('backup');
  });

  it('changes nothing in a dry run, and says what it would do', async () => {
    await keys().rotate();
    const before = await operations();
    const report = await keys().maintain({
      ...{ reencrypt: true, backup: { kms: backupKms }, dryRun: true },
    });
    expect(report.reencryption).toMatchObject({ changed: 2 });
    expect(report.backup).toBeNull();
    expect(await operations()).toEqual(before);
    expect((await keys().uses((await keys().list())[0]?.id ?? ''))[0]).toMatchObject({
      rowsUnderKey: 2,
    });
  });

  it('makes the backup even if the re-encryption fails, and the other way round', async () => {
    await dataSource.query('ALTER TABLE field_encryption_runs RENAME TO away');
    const first = await keys().maintain({ reencrypt: true, backup: { kms: backupKms } });
    expect(steps(first)).toEqual([['reencrypt', 'ERR_CONFIGURATION']]);
    expect(first).toMatchObject({ reencryption: null, backup: { keys: 2 } });
    await dataSource.query('ALTER TABLE away RENAME TO field_encryption_runs');
    const kms = new FakeKms();
    kms.outage = new KmsUnavailableError('away');
    const second = await keys().maintain({ reencrypt: true, backup: { kms } });
    expect(steps(second)).toEqual([['backup', 'ERR_KMS_UNAVAILABLE']]);
    expect(second.reencryption).toMatchObject({ failed: 0 });
  });

  it('takes any error of the backup KMS for an outage, and keeps the report', async () => {
    await keys().rotate();
    const kms = new FakeKms();
    kms.outage = new Error('vault away');
    const report = await keys().maintain({ reencrypt: true, backup: { kms } });
    expect(steps(report)).toEqual([['backup', 'ERR_KMS_UNAVAILABLE']]);
    expect(report.reencryption).toMatchObject({ changed: 2 });
    const error = await rejection(keys().backup({ kms }));
    expect(error).toBeInstanceOf(KmsUnavailableError);
    expect(error.cause).toEqual(kms.outage);
  });

  it('keeps the report where the database fails a step', async () => {
    await refuseRows(dataSource, 'field_encryption_audit', 'full');
    const report = await keys().maintain({ backup: { kms: backupKms } });
    expect(report).toMatchObject({ failures: [], backup: null });
    expect(report.failedSteps).toEqual([
      { step: 'backup', code: undefined, message: expect.stringContaining('full') as string },
    ]);
  });

  it('makes no backup while that needs approval, and says so each time', async () => {
    const persons = ['ada', 'ben', 'eve'].map((id) => new SshSigner(id));
    const approvals = approvalPolicy(persons, ['backup']);
    dataSource = await cleanup.add(protect(database, { approvals })).initialize();
    await fieldEncryption(dataSource).approvals.setPolicy();
    const night = () => keys().maintain({ reencrypt: true, backup: { kms: backupKms } });
    for (const report of [await night(), await runAs({ id: 'ada' }, night)]) {
      expect(steps(report)).toEqual([['backup', 'ERR_APPROVAL_REQUIRED']]);
      expect(report).toMatchObject({ backup: null, reencryption: { failed: 0 } });
    }
  });

  it.each([
    [{ reencrypts: true }, /unknown option "reencrypts" \(known are announceMs/],
    [{ reencrypt: 'yes' }, /reencrypt must be a boolean/],
    [{ backup: true }, /backup\.kms must be a KmsProvider/],
    [{ backup: { shares: 3, threshold: 2 } }, /backup\.kms must be a KmsProvider/],
  ])('refuses %p, also for a schedule', async (options, message) => {
    const error = await rejection(keys().maintain(options as never));
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error.message).toMatch(message);
    expect(() => keys().scheduleMaintenance(options as never)).toThrow(message);
  });

  it('is refused before anything happens to an actor who may not take one of the steps', async () => {
    const levelOf = (actor?: { roles?: readonly string[] }): AccessLevel =>
      actor?.roles?.includes('operator') === true ? 2 : 4;
    dataSource = await cleanup.add(protect(database, { access: { levelOf } })).initialize();
    await keys().rotate();
    const operator = { id: 'ops', roles: ['operator'] };
    const options = { reencrypt: true, backup: { kms: backupKms } };
    const error = await rejection(() => runAs(operator, () => keys().maintain(options)));
    expect(error).toBeInstanceOf(AccessDeniedError);
    expect(await operations()).not.toContain('data reencrypt');
    expect(await runAs(operator, () => keys().maintain({ reencrypt: true }))).toMatchObject({
      reencryption: { changed: 2 },
    });
  });

  it('is ended by the end of its schedule, after the page under way', async () => {
    await keys().rotate();
    const reports: UpkeepReport[] = [];
    const schedule = keys().scheduleMaintenance({
      reencrypt: true,
      onReport: (report) => reports.push(report),
      onProgress: () => void schedule.stop(),
    });
    await schedule.stop();
    expect(reports[0]?.reencryption).toMatchObject({ aborted: true });
  });
});

const steps = ({ failedSteps }: UpkeepReport): unknown[] =>
  failedSteps.map(({ step, code }) => [step, code]);
