import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { DataSource } from 'typeorm';
import { CreateApprovals1764000007000 } from '../../migrations/1764000007000-create-approvals';
import {
  ApprovalRequiredError,
  ConfigurationError,
  Encrypted,
  fieldEncryption,
  fileAnchor,
  runAs,
} from '../../src';
import type { ApprovalPolicy, AuditEntry, FieldEncryptionOptions, RequestInfo } from '../../src';
import { joinRun } from '../../src/reencryption/runs/shared-run';
import { RunCounts } from '../../src/reencryption/report/run-report';
import { installationOf } from '../../src/typeorm/installation/installations';
import { moveDatabaseClock } from '../support/database-clock';
import { describeDiagonal } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { Cleanup, keyFileKms, protect, rejection } from '../support/protected-database';
import { approvalPolicy, SshSigner } from '../support/ssh-signer';
import { sqlOf } from '../support/sql-of';

@Entity()
class Patient {
  @PrimaryColumn() id!: number;
  @Column() ward!: string;
  @Encrypted() ssn!: string;
}

const [ada, ben, eve, gus, mal] = ['ada', 'ben', 'eve', 'gus', 'mal'].map(
  (id) => new SshSigner(id),
) as [SshSigner, SshSigner, SshSigner, SshSigner, SshSigner];

function policyOf(
  persons: readonly SshSigner[],
  more: Partial<ApprovalPolicy> = {},
): ApprovalPolicy {
  const policy = approvalPolicy(persons, ['destroy', 'backup', 'data decrypt']);
  return { ...policy, required: 2, ...more };
}

const POLICY = policyOf([ada, ben, eve, gus]);
const folder = mkdtempSync(join(tmpdir(), 'approvals-'));
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

describeDiagonal('Approvals', (kind) => {
  const cleanup = new Cleanup();
  let database: TestDatabase;
  let dataSource: DataSource;

  async function connect(options: Partial<FieldEncryptionOptions> = {}): Promise<DataSource> {
    return cleanup.add(protect(database, { approvals: POLICY, ...options })).initialize();
  }

  beforeEach(async () => {
    database = await cleanup.create(kind, { entities: [Patient], synchronize: true });
    dataSource = await connect();
    await dataSource.getRepository(Patient).insert({ id: 1, ward: 'A', ssn: 'canary-1' });
    await as(ada, () => of().approvals.setPolicy());
  });
  afterEach(() => cleanup.run());

  const of = (source = dataSource) => fieldEncryption(source);
  const as = <T>(who: SshSigner, work: () => Promise<T>): Promise<T> => runAs({ id: who.id }, work);
  const logged = async (outcome: string, source = dataSource): Promise<AuditEntry[]> =>
    (await of(source).audit.list()).filter((entry) => entry.outcome === outcome);

  /** Asks for something, and returns the request. */
  async function ask(work: () => Promise<unknown>, who = ada): Promise<RequestInfo> {
    const error = await rejection(as(who, work));
    expect(error).toBeInstanceOf(ApprovalRequiredError);
    const found = (await of().approvals.list()).find(
      ({ id }) => id === (error as ApprovalRequiredError).request,
    );
    if (found === undefined) throw error;
    return found;
  }

  async function sign({ id, document }: RequestInfo, ...signers: SshSigner[]): Promise<void> {
    for (const signer of signers) await of().approvals.approve(id, signer.sign(document));
  }

  /** Returns an old version of a key that no row needs, and its destruction. */
  async function oldKey(): Promise<string> {
    const [key] = await of().keys.list();
    await of().keys.rotate();
    await of().reencrypt();
    return key?.id ?? '';
  }
  const destroy =
    (id: string, source = dataSource) =>
    () =>
      of(source).keys.destroy(id, { graceMs: 0 });
  const backup = (source = dataSource) => of(source).keys.backup({ kms: keyFileKms() });

  /** Refuses, and records that. */
  async function refused(work: () => Promise<unknown>, who = ada): Promise<Error> {
    const error = await rejection(as(who, work));
    expect(error).toBeInstanceOf(ApprovalRequiredError);
    await dataSource.destroy();
    await dataSource.initialize();
    expect((await logged('denied')).at(-1)).toMatchObject({ reference: 'ERR_APPROVAL_REQUIRED' });
    return error;
  }

  it('let two approvers pass what one does not, once, and record who', async () => {
    const id = await oldKey();
    const request = await ask(destroy(id));
    expect(request).toMatchObject({
      ...{ operation: 'destroy', requester: 'ada', required: 2, approvedBy: [] },
      ...{ parameters: { graceMs: 0 }, target: { key: id }, signedByRequester: false },
    });
    await sign(request, ada, ben);
    await refused(destroy(id));
    expect(await of().approvals.list()).toMatchObject([{ id: request.id, approvedBy: ['ben'] }]);
    expect((await of().keys.list()).map(({ state }) => state)).toEqual(['deactivated', 'active']);

    await sign(request, eve);
    expect(await as(ada, destroy(id))).toMatchObject({ key: { id, state: 'destroyed' } });
    expect(await of().approvals.list()).toEqual([]);
    expect(await logged('approved')).toMatchObject([
      { operation: 'destroy', reference: request.id, keyName: 'ada', actor: 'ada' },
    ]);
    const approved = await of().audit.list({ operation: 'approve' });
    expect(approved.map(({ keyName }) => keyName)).toEqual(['ada', 'ben', 'eve']);
    expect(await of().audit.verify()).toMatchObject({ ok: true });
  });

  it('are taken once by processes that race', async () => {
    const request = await ask(backup);
    await sign(request, ada, ben, eve);
    const others = kind.dialect === 'sqlite' ? dataSource : await connect();
    const results = await Promise.allSettled([
      as(ada, () => backup()),
      as(ada, () => backup(others)),
    ]);
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    expect(await logged('approved')).toHaveLength(1);
  });

  it('are not for another target, other parameters, or another requester', async () => {
    const id = await oldKey();
    const request = await ask(destroy(id));
    await sign(request, ada, ben, eve);
    await refused(() => of().keys.destroy(id));
    await refused(destroy(id), ben);
    const { kms, ...shares } = { kms: undefined, shares: 3, threshold: 2 };
    expect(kms).toBeUndefined();
    await refused(() => of().keys.backup(shares));
    // The key has changed since.
    await as(ada, () => of().keys.revoke(id));
    await refused(destroy(id));
    expect((await of().keys.list()).map(({ state }) => state)).toEqual(['compromised', 'active']);
  });

  it('count each approver once, whoever asks never, and nobody else', async () => {
    const request = await ask(backup);
    const reject = async (signature: string, why: RegExp): Promise<void> => {
      const error = await refused(() => of().approvals.approve(request.id, signature));
      expect(error.message).toMatch(why);
    };
    await sign(request, ada, ben);
    await reject(ada.sign(request.document), /ada has signed it before/);
    await reject(ben.sign(request.document), /ben has signed it before/);
    await reject(mal.sign(request.document), /that of no approver/);
    await reject(eve.sign(request.document, 'file'), /namespace/);
    await reject(eve.sign(request.document.trimEnd()), /something else/);
    await reject('-----BEGIN SSH SIGNATURE-----\n!\n-----END SSH SIGNATURE-----', /no SSH/);
    // As whoever writes to the database.
    const forged = [
      ada.sign(request.document),
      ...[ada, ben, ben, mal].map((who) => who.sign(request.document)),
    ];
    await write(
      'signatures',
      JSON.stringify([...forged, eve.sign(`${request.document} `), 'x']),
      request.id,
    );
    await refused(() => backup());
  });

  const write = (column: string, value: unknown, id: string): Promise<unknown> => {
    return dataSource.query(
      sqlOf(kind, `UPDATE field_encryption_approvals SET ${column} = $1 WHERE id = $2`),
      [value, id],
    );
  };

  it('do not replay: not by the row, nor with the log cut off where there is an anchor', async () => {
    dataSource = await connect({ anchor: fileAnchor(join(folder, `${kind.name}-replay`)) });
    const request = await ask(backup);
    await sign(request, ada, ben, eve);
    const { seq } = (await of().audit.list()).at(-1) ?? { seq: 0 };
    await as(ada, () => backup());
    await write('used_by', null, request.id);
    await refused(() => backup());
    await dataSource.query(`DELETE FROM field_encryption_audit WHERE seq > ${String(seq)}`);
    await write('used_by', null, request.id);
    await refused(() => backup());
  });

  it('end, and are no longer signed then', async () => {
    const request = await ask(backup);
    await sign(request, ada, ben, eve);
    moveDatabaseClock(dataSource, () => 86_400_000);
    const error = (await rejection(as(ada, () => backup()))) as ApprovalRequiredError;
    expect(error.request).not.toBe(request.id);
    const late = of().approvals.approve(request.id, gus.sign(request.document));
    expect((await rejection(late)).message).toContain('has ended');
  });

  it('of an edited request do not count', async () => {
    const request = await ask(backup);
    await sign(request, ada, ben, eve);
    await write('document', request.document.replace('"backup"', '"rotate"'), request.id);
    await refused(() => backup());
  });

  describe('by a policy', () => {
    const setPolicy = (source: DataSource) => () => of(source).approvals.setPolicy();

    it('that the configuration does not have is refused', async () => {
      for (const approvals of [
        policyOf([ada, ben, mal, gus]),
        policyOf([ada, ben, eve, gus], { required: 1 }),
        policyOf([ada, ben, eve, gus], { operations: [] }),
        undefined as never,
      ]) {
        dataSource = await connect({ approvals });
        await refused(() => backup());
        expect(await of().keys.rotate()).toMatchObject({ state: 'active' });
      }
      dataSource = await connect({ approvals: undefined as never, audit: false });
      expect(await rejection(as(ada, () => backup()))).toBeInstanceOf(ApprovalRequiredError);
    });

    it('changes when those of the one before approve, and a removed one counts no more', async () => {
      const before = await ask(backup);
      await sign(before, ada, ben, gus);
      dataSource = await connect({ approvals: policyOf([ada, ben, eve, mal]) });
      const request = await ask(setPolicy(dataSource));
      expect(request).toMatchObject({ operation: 'approvals', required: 2 });
      await sign(request, ada, ben);
      await expect(sign(request, mal)).rejects.toThrow(/no approver/);
      await refused(setPolicy(dataSource));
      await sign(request, gus);
      expect(await as(ada, setPolicy(dataSource))).toEqual({ changed: true, version: 2 });
      expect(await as(ada, setPolicy(dataSource))).toEqual({ changed: false, version: 2 });

      const after = await ask(backup);
      expect(after.id).not.toBe(before.id);
      await sign(after, ada, ben);
      await expect(sign(after, gus)).rejects.toThrow(/no approver/);
      await refused(() => backup());
      await sign(after, mal);
      await as(ada, () => backup());
    });

    it('does not go back, nor away, by hand', async () => {
      const anchor = fileAnchor(join(folder, `${kind.name}-policy`));
      dataSource = await connect({ anchor, approvals: policyOf([ada, ben, eve, mal]) });
      const request = await ask(setPolicy(dataSource));
      await sign(request, ada, ben, gus);
      await as(ada, setPolicy(dataSource));
      const { seq } = (await of().audit.list()).at(-1) ?? { seq: 0 };
      // To version 1, or to none, with the configuration that belongs to it.
      for (const [where, approvals] of [
        ['version = 2', POLICY],
        ['1 = 1', undefined as never],
        ['1 = 1', policyOf([mal, new SshSigner('m'), new SshSigner('n')])],
      ] as const) {
        await dataSource.query(`DELETE FROM field_encryption_approvals WHERE ${where}`);
        dataSource = await connect({ anchor, approvals });
        await refused(() => backup());
        if (approvals !== (undefined as never)) await refused(setPolicy(dataSource), mal);
      }
      // The log had told so far. Only the anchor is left.
      await dataSource.query(`DELETE FROM field_encryption_audit WHERE key_id = 'approvals'`);
      expect(seq).toBeGreaterThan(0);
      await refused(() => backup());
      await refused(setPolicy(dataSource), mal);
    });

    it('keeps its table from being dropped by migration:revert', async () => {
      const runner = dataSource.createQueryRunner();
      const revert = new CreateApprovals1764000007000().down(runner);
      expect((await rejection(revert)).message).toMatch(/holds the policy/);
      await runner.release();
    });

    it('begins anew, for all to see, once the log was emptied', async () => {
      await dataSource.query('DELETE FROM field_encryption_audit');
      await dataSource.query('DELETE FROM field_encryption_approvals');
      dataSource = await connect({ approvals: policyOf([ada, ben, mal]) });
      expect(await as(ada, setPolicy(dataSource))).toEqual({ changed: true, version: 1 });
      expect((await of().audit.list()).map(({ operation }) => operation)).toEqual(['approvals']);
      expect(await of().audit.verify()).toMatchObject({ ok: false });
    });

    it('that somebody made up is refused', async () => {
      await dataSource.query(`UPDATE field_encryption_approvals SET version = 7`);
      await refused(() => backup());
      await dataSource.query(`UPDATE field_encryption_approvals SET version = 1, document = '{}'`);
      await refused(() => backup());
      await refused(setPolicy(dataSource));
    });

    it('is asked for before it is stored', async () => {
      database = await cleanup.create(kind, { entities: [Patient], synchronize: true });
      dataSource = await connect();
      await dataSource.getRepository(Patient).insert({ id: 1, ward: 'A', ssn: 'canary-1' });
      expect((await refused(() => backup())).message).toMatch(/not stored yet/);
      expect(await as(ada, setPolicy(dataSource))).toEqual({ changed: true, version: 1 });
    });
  });

  it('are asked of runs at their start, and of those who join', async () => {
    dataSource = await connect({ legacyPlaintext: ['Patient.ssn'] });
    const decrypt = () => of().decrypt();
    expect(await of().decrypt({ dryRun: true })).toMatchObject({ mode: 'decrypt' });
    const request = await ask(decrypt);
    await sign(request, ada, ben, eve);
    expect(await as(ada, decrypt)).toMatchObject({ changed: 1 });
    await refused(decrypt);
    const entries = await of().audit.list();
    // Whoever writes to the database has workers begin the run anew.
    const [run] = await dataSource.query<{ id: string }[]>('SELECT id FROM field_encryption_runs');
    await dataSource.query(`UPDATE field_encryption_runs SET state = 'running', pass = 1`);
    await refused(() =>
      joinRun(installationOf(dataSource), 'decrypt', {}, run?.id ?? '', new RunCounts()),
    );
    expect(entries.map(({ operation, outcome }) => `${operation} ${outcome}`)).toEqual(
      expect.arrayContaining(['data decrypt approved', 'data decrypt started']),
    );
  });

  it('never keep a key from being revoked or suspended, and leave its destruction to people', async () => {
    dataSource = await connect({
      keyPolicies: { default: { retention: { kind: 'untilReencrypted' } } },
    });
    const id = await oldKey();
    expect(await of().keys.maintain({ graceMs: 0 })).toMatchObject({
      ...{ destroyed: [], awaitingApproval: [{ id }], failures: [] },
    });
    const [, active] = await of().keys.list();
    await of().keys.suspend(active?.id ?? '');
    await of().keys.resume(active?.id ?? '');
    expect(await of().keys.revoke(id)).toMatchObject({ key: { state: 'compromised' } });
  });

  it('are asked for by approvers only', async () => {
    expect((await refused(() => backup(), mal)).message).toMatch(/only an approver/);
    const error = await rejection(runAs({ id: 'root@db:1', requester: 'ada' }, () => backup()));
    expect((error as ApprovalRequiredError).request).toMatch(/^[0-9a-f]{32}$/);
  });

  it.each([
    [
      'one key twice',
      policyOf([ada, ben, eve], {
        approvers: [ada, ben, eve].map(({ line }, i) => ({
          id: String(i),
          key: i === 2 ? ben.line : line,
        })),
      }),
    ],
    [
      'one id twice',
      policyOf([ada, ben, eve], {
        approvers: [ada, ben, eve].map(({ line }) => ({ id: 'a', key: line })),
      }),
    ],
    ['too few', policyOf([ada, ben])],
    ['suspend', policyOf([ada, ben, eve], { operations: ['suspend' as never] })],
    [
      'a key that is none',
      policyOf([ada, ben, eve], {
        approvers: [ada, ben, eve].map(({ id }) => ({ id, key: 'ssh-ed25519 AAAA' })),
      }),
    ],
  ])('refuse a policy with %s', async (_, approvals) => {
    expect(await rejection(() => connect({ approvals }))).toBeInstanceOf(ConfigurationError);
  });
});
