import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { DataSource } from 'typeorm';
import {
  ApprovalRequiredError,
  Encrypted,
  fieldEncryption,
  FieldEncryptionError,
  fileAnchor,
  KeyScope,
  runAs,
  UnsupportedValueError,
} from '../../src';
import type { FieldEncryptionOptions, KeyTableAnchor, RequestInfo, RunOptions } from '../../src';
import { joinRun, openRuns } from '../../src/reencryption/runs/shared-run';
import { RunCounts } from '../../src/reencryption/report/run-report';
import { installationOf } from '../../src/typeorm/installation/installations';
import { describeDiagonal } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { Cleanup, keyFileKms, protect, rejection } from '../support/protected-database';
import { approvalPolicy, SshSigner } from '../support/ssh-signer';
import { watchedKms } from '../support/watched-kms';

@Entity()
class Patient {
  @PrimaryColumn() id!: number;
  @Column() ward!: string;
  @Encrypted() ssn!: string;
  @Encrypted() name!: string;
}

@Entity()
class Letter {
  @PrimaryColumn() id!: number;
  @KeyScope({ kind: 'tenant' }) @Column() tenantId!: string;
  @Encrypted() text!: string;
}

const [ada, ben, eve] = ['ada', 'ben', 'eve'].map((id) => new SshSigner(id)) as [
  SshSigner,
  SshSigner,
  SshSigner,
];
const OPERATIONS = [
  'destroy',
  'backup',
  'rewrap',
  'rotate',
  'adopt',
  'shred',
  'data decrypt',
] as const;
const POLICY = approvalPolicy([ada, ben, eve], OPERATIONS);
const LEGACY = { legacyPlaintext: ['Patient.ssn', 'Patient.name'] };

const folder = mkdtempSync(join(tmpdir(), 'approvals-'));
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

/** As whoever has the configuration and the database, and not the keys of the other approvers. */
describeDiagonal('Around approvals', (kind) => {
  const cleanup = new Cleanup();
  /** Those in which two processes are at work at a time. */
  const itOnServers = kind.dialect === 'sqlite' ? it.skip : it;
  let database: TestDatabase;
  let dataSource: DataSource;

  async function connect(options: Partial<FieldEncryptionOptions> = {}): Promise<DataSource> {
    const checked = { approvals: POLICY, keyCache: { maxAgeMs: 60_000 }, ...options };
    return cleanup.add(protect(database, checked)).initialize();
  }

  beforeEach(async () => {
    database = await cleanup.create(kind, { entities: [Patient, Letter], synchronize: true });
    dataSource = await connect();
    await dataSource.getRepository(Patient).insert([
      { id: 1, ward: 'n', ssn: 'canary-1', name: 'canary-2' },
      { id: 2, ward: 's', ssn: 'canary-3', name: 'canary-4' },
    ]);
    await as(ada, () => of().approvals.setPolicy());
  });
  afterEach(() => cleanup.run());

  const of = (source = dataSource) => fieldEncryption(source);
  const as = <T>(who: SshSigner, work: () => Promise<T>): Promise<T> => runAs({ id: who.id }, work);
  const query = <T = unknown>(sql: string): Promise<T[]> => dataSource.query<T[]>(sql);
  const backup = (source = dataSource) => of(source).keys.backup({ kms: keyFileKms() });
  const fileOf = (name: string) => fileAnchor(join(folder, `${kind.name}-${name}`));

  async function refused(work: () => Promise<unknown>): Promise<ApprovalRequiredError> {
    const error = await rejection(as(ada, work));
    expect(error).toBeInstanceOf(ApprovalRequiredError);
    return error as ApprovalRequiredError;
  }

  async function asked(work: () => Promise<unknown>): Promise<RequestInfo> {
    const { request } = await refused(work);
    const found = await of().approvals.find(request ?? '');
    if (found === undefined) throw new Error('there is no request');
    return found;
  }

  /** Has something approved, which is not done yet. */
  async function approved(work: () => Promise<unknown>): Promise<RequestInfo> {
    const request = await asked(work);
    for (const signer of [ada, ben]) {
      await of().approvals.approve(request.id, signer.sign(request.document));
    }
    return request;
  }

  it('a dry run of maintenance hands no backup out', async () => {
    const report = await of().keys.maintain({ dryRun: true, backup: { kms: keyFileKms() } });
    expect(report).toMatchObject({ backup: null, failedSteps: [] });
  });

  it('dry runs need none, and change nothing', async () => {
    await of().keys.rewrap({ force: true, dryRun: true });
    await of().keys.rotateScopes({ kind: 'tenant', dryRun: true });
    expect(await of().approvals.list()).toEqual([]);
  });

  describe('in runs', () => {
    const join = (id: string, options: RunOptions) => () =>
      joinRun(installationOf(dataSource), 'decrypt', options, id, new RunCounts());
    const runs = () =>
      query<{ id: string; mode: string; scope: string; structure: string }>(
        'SELECT * FROM field_encryption_runs ORDER BY started_at',
      );

    beforeEach(async () => {
      dataSource = await connect(LEGACY);
    });

    it('one that was approved cannot be made another', async () => {
      const narrow = { columns: ['Patient.ssn'], where: { Patient: "ward = 'n'" } };
      const decrypt = (options: RunOptions) => () => of().decrypt(options);
      for (const options of [{}, narrow]) {
        await approved(decrypt(options));
        await as(ada, decrypt(options));
        await of().encrypt();
      }
      const [wide, last] = (await runs()).filter(({ mode }) => mode === 'decrypt');
      // The end of the narrow one is taken back, and it is given the rows of the wide one.
      await query("DELETE FROM field_encryption_audit WHERE outcome = 'done'");
      await query('DELETE FROM field_encryption_ranges');
      await query(`DELETE FROM field_encryption_runs WHERE id = '${String(wide?.id)}'`);
      await query(
        `UPDATE field_encryption_runs SET state = 'running', scope = '${String(wide?.scope)}', structure = '${String(wide?.structure)}' WHERE id = '${String(last?.id)}'`,
      );
      await refused(join(last?.id ?? '', {}));
      expect(JSON.stringify(await query('SELECT * FROM patient'))).not.toContain('canary');
    });

    it('one that has ended does not go on once the log was cut off, where there is an anchor', async () => {
      dataSource = await connect({ ...LEGACY, anchor: fileOf('ended') });
      await approved(() => of().decrypt());
      await as(ada, () => of().decrypt());
      await of().encrypt();
      const [done] = await query<{ seq: number }>(
        "SELECT seq FROM field_encryption_audit WHERE operation = 'data decrypt' AND outcome = 'done'",
      );
      await query(`DELETE FROM field_encryption_audit WHERE seq >= ${String(done?.seq)}`);
      await query("UPDATE field_encryption_runs SET state = 'running', pass = 1");
      const [run] = (await runs()).filter(({ mode }) => mode === 'decrypt');
      await refused(join(run?.id ?? '', {}));
    });

    it('workers join one that was approved, until it has ended', async () => {
      const open = () => openRuns(installationOf(dataSource), 'decrypt', {});
      await approved(open);
      const { runs: opened } = await as(ada, open);
      expect(await join(opened[0]?.id ?? '', {})()).toBe(true);
      expect(JSON.stringify(await query('SELECT * FROM patient'))).toContain('canary-1');
      await of().encrypt();
      expect(await join(opened[0]?.id ?? '', {})()).toBe(true);
      expect(JSON.stringify(await query('SELECT * FROM patient'))).not.toContain('canary');
    });

    it('one of before the policy does not begin anew', async () => {
      await query('DELETE FROM field_encryption_approvals');
      await query("DELETE FROM field_encryption_audit WHERE operation = 'approvals'");
      dataSource = await connect({ ...LEGACY, approvals: undefined as never });
      await of().decrypt();
      dataSource = await connect(LEGACY);
      await as(ada, () => of().approvals.setPolicy());
      await of().encrypt();
      await query("UPDATE field_encryption_audit SET reference = 'x' WHERE outcome = 'done'");
      await query("UPDATE field_encryption_runs SET state = 'running', pass = 1");
      const [run] = (await runs()).filter(({ mode }) => mode === 'decrypt');
      await refused(join(run?.id ?? '', {}));
    });

    it('names the columns, whatever the configuration says later', async () => {
      dataSource = await connect({ legacyPlaintext: ['Patient.ssn'] });
      const request = await approved(() => of().decrypt());
      expect(request.parameters).toMatchObject({
        tables: [{ entity: 'Patient', properties: ['ssn'] }],
      });
      dataSource = await connect(LEGACY);
      expect((await refused(() => of().decrypt())).request).not.toBe(request.id);
    });

    it('does no more than was approved, whatever becomes of the options', async () => {
      const options = { where: { Patient: "ward = 'n'" } };
      await approved(() => of().decrypt(options));
      const running = as(ada, () => of().decrypt(options));
      options.where.Patient = '1 = 1';
      await running.catch(() => undefined);
      expect(JSON.stringify(await query('SELECT * FROM patient'))).not.toContain('canary-3');
    });
  });

  describe('an anchor', () => {
    const forget = async (version: number): Promise<void> => {
      await query(`DELETE FROM field_encryption_approvals WHERE version >= ${String(version)}`);
      await query(
        `DELETE FROM field_encryption_audit WHERE key_id = 'approvals' AND key_version >= ${String(version)}`,
      );
    };

    it('that comes later learns the policy', async () => {
      const anchor = fileOf('later');
      dataSource = await connect({ anchor });
      expect(await as(ada, () => of().approvals.setPolicy())).toMatchObject({ changed: false });
      await forget(1);
      dataSource = await connect({ anchor, approvals: undefined as never });
      await refused(() => backup());
    });

    it('that was away when the policy changed learns it from the next who goes by it', async () => {
      const file = fileOf('away');
      let isAway = false;
      const anchor: KeyTableAnchor = {
        read: () => file.read(),
        write: async (text, previous) => {
          if (isAway) throw new Error('away');
          await file.write(text, previous);
        },
      };
      const second = approvalPolicy([ben, eve, new SshSigner('gus')], OPERATIONS);
      dataSource = await connect({ anchor, approvals: second });
      const change = () => of().approvals.setPolicy();
      await approved(change);
      const { audit } = installationOf(dataSource);
      const record = audit.record.bind(audit);
      audit.record = async (...events) => {
        await record(...events);
        isAway = true;
      };
      await rejection(as(ada, change));
      isAway = false;
      dataSource = await connect({ anchor, approvals: second });
      expect(await as(ben, change)).toEqual({ changed: false, version: 2 });
      await forget(2);
      dataSource = await connect({ anchor });
      await refused(() => backup());
    });
  });

  it('a request is for the keys as they were', async () => {
    const request = await approved(() => backup());
    await query("UPDATE data_keys SET owner = 'mallory'");
    expect((await refused(() => backup())).request).not.toBe(request.id);
  });

  it('the scope that is erased is the one that is named', async () => {
    await dataSource.getRepository(Letter).insert({ id: 1, tenantId: 'north', text: 'canary' });
    const odd = { scope: { tenant: 'north' }, reason: 'r', id: 'south', kind: 'k' };
    const { parameters } = await asked(() => of().keys.shred(odd));
    expect(parameters).toMatchObject({ kind: 'tenant', id: 'north' });
  });

  it('options that change while it is asked for change nothing', async () => {
    const protection = { shares: 3, threshold: 3 };
    await approved(() => of().keys.backup(protection));
    const made = as(ada, () => of().keys.backup(protection));
    protection.threshold = 2;
    const { file, shares } = await made;
    const opening = of().keys.drill(file, { shares: shares.slice(0, 2) });
    expect(await rejection(opening)).toBeInstanceOf(FieldEncryptionError);
  });

  itOnServers('a database that takes marks back lets one pass', async () => {
    await approved(() => backup());
    const trigger =
      'CREATE TRIGGER take_back BEFORE UPDATE ON field_encryption_approvals FOR EACH ROW';
    if (kind.dialect === 'mysql') {
      await query(`${trigger} SET NEW.used_by = NULL`);
    } else {
      await query(
        'CREATE FUNCTION take_back() RETURNS trigger LANGUAGE plpgsql AS ' +
          "'BEGIN NEW.used_by := NULL; RETURN NEW; END'",
      );
      await query(`${trigger} EXECUTE FUNCTION take_back()`);
    }
    const sources = [dataSource, await connect(), await connect()];
    const results = await Promise.allSettled(
      sources.map((source) => as(ada, () => backup(source))),
    );
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  });

  it('a request that has long ended by the clock of the process is over', async () => {
    const request = await approved(() => backup());
    const now = Date.now.bind(Date);
    jest.spyOn(Date, 'now').mockImplementation(() => now() + 2 * 86_400_000);
    expect((await refused(() => backup())).request).not.toBe(request.id);
  });

  itOnServers('a policy that is replaced meanwhile holds', async () => {
    const second = approvalPolicy([ben, eve, new SshSigner('gus')], OPERATIONS);
    const other = await connect({ approvals: second });
    let change = (): Promise<unknown> => Promise.resolve();
    const slow = watchedKms(keyFileKms(), () => undefined);
    const wrapKey = slow.wrapKey.bind(slow);
    slow.wrapKey = async (...call) => {
      await change();
      return wrapKey(...call);
    };
    const slowly = () => of().keys.backup({ kms: slow });
    await approved(slowly);
    const request = await rejection(as(ada, () => of(other).approvals.setPolicy()));
    const found = await of().approvals.find((request as ApprovalRequiredError).request ?? '');
    for (const signer of [ada, ben]) {
      await of().approvals.approve(found?.id ?? '', signer.sign(found?.document ?? ''));
    }
    change = async () => as(ada, () => of(other).approvals.setPolicy());
    expect((await refused(slowly)).message).toMatch(/replaced/);
  });

  it('a request that failed once it was taken is no longer open', async () => {
    let isDown = false;
    const sink = (): void => {
      if (isDown) throw new Error('down');
    };
    dataSource = await connect({ anchor: fileOf('failed'), audit: { sink } });
    const request = await approved(() => backup());
    isDown = true;
    await rejection(as(ada, () => backup()));
    isDown = false;
    expect(await of().approvals.list()).toEqual([]);
    expect((await refused(() => backup())).request).not.toBe(request.id);
  });

  it('rows that are no requests hide none, and cannot be signed', async () => {
    const { document } = await asked(() => backup());
    for (const [member, value] of [
      ['expires', 'soon'],
      ['operation', '__proto__'],
    ] as const) {
      const odd = document.replace(new RegExp(`"${member}":"[^"]*"`), `"${member}":"${value}"`);
      const id = randomBytes(16).toString('hex');
      await query(
        `INSERT INTO field_encryption_approvals (id, subject, document, signatures, created_at) VALUES ('${id}', 'x', '${odd}', '[]', '2100-01-01')`,
      );
    }
    expect(await of().approvals.list()).toMatchObject([{ operation: 'backup' }]);
  });

  it.each<[string, unknown, unknown]>([
    ['no signature', '0'.repeat(32), undefined],
    ['no id', {}, 'x'],
  ])('says what to give for %s', async (_, id, signature) => {
    const approving = of().approvals.approve(id as string, signature as string);
    expect(await rejection(approving)).toBeInstanceOf(UnsupportedValueError);
  });

  it('a request that nobody would read is refused', async () => {
    const where = { Patient: `ward = '${'x'.repeat(70_000)}'` };
    dataSource = await connect(LEGACY);
    const error = await rejection(as(ada, () => of().decrypt({ where })));
    expect(error).toBeInstanceOf(UnsupportedValueError);
  });
});
