import { mkdtempSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Entity, PrimaryColumn } from 'typeorm';
import type { DataSource } from 'typeorm';
import { Encrypted, fieldEncryption, fileAnchor, runAs } from '../../src';
import type { ApprovalPolicy } from '../../src';
import { describeDiagonal } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { Cleanup, protect, rejection } from '../support/protected-database';
import { approvalPolicy, SshSigner } from '../support/ssh-signer';

@Entity()
class Patient {
  @PrimaryColumn() id!: number;
  @Encrypted() ssn!: string;
}

const [ada, ben, eve, gus] = ['ada', 'ben', 'eve', 'gus'].map((id) => new SshSigner(id)) as [
  ...[SshSigner, SshSigner, SshSigner, SshSigner],
];
const policyOf = (...persons: SshSigner[]): ApprovalPolicy =>
  approvalPolicy(persons, ['rotate', 'acceptEpoch']);

/** What docs/approvals.md, "A lost approver", says where too few are left. */
describeDiagonal('A new beginning of approvals', (kind) => {
  const cleanup = new Cleanup();
  let database: TestDatabase;
  let folder: string;

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'beginning-'));
    database = await cleanup.create(kind, { entities: [Patient], synchronize: true });
  });
  afterEach(async () => {
    await cleanup.run();
    rmSync(folder, { recursive: true, force: true });
  });

  const connect = (approvals: ApprovalPolicy): Promise<DataSource> =>
    cleanup
      .add(protect(database, { approvals, anchor: fileAnchor(join(folder, 'anchor')) }))
      .initialize();

  it('ends with the keys in the log, once those of the new policy have accepted them', async () => {
    const before = await connect(policyOf(ada, ben));
    await before.getRepository(Patient).insert({ id: 1, ssn: 'canary' });
    await fieldEncryption(before).approvals.setPolicy();
    await before.query('DELETE FROM field_encryption_audit');
    await before.query('DELETE FROM field_encryption_approvals');
    await before.destroy();
    renameSync(join(folder, 'anchor'), join(folder, 'anchor.before'));

    const dataSource = await connect(policyOf(eve, gus, ben));
    const { approvals, audit, keys } = fieldEncryption(dataSource);
    expect(await approvals.setPolicy()).toEqual({ changed: true, version: 1 });
    const { ok, broken, keys: unknown } = await audit.verify();
    expect([ok, broken]).toEqual([false, null]);
    expect(unknown.length).toBeGreaterThan(0);
    expect(unknown.every(({ logged }) => logged === null)).toBe(true);

    const epoch = Math.max(...unknown.map(({ foundEpoch }) => foundEpoch ?? 0));
    const accept = () => keys.acceptEpoch(epoch, { reason: 'new approvers' });
    await rejection(runAs({ id: 'eve' }, accept));
    const [request] = await approvals.list();
    for (const signer of [eve, ben]) {
      await approvals.approve(request?.id ?? '', signer.sign(request?.document ?? ''));
    }
    await runAs({ id: 'eve' }, accept);
    expect(await audit.verify()).toMatchObject({ ok: true });
    expect(await dataSource.getRepository(Patient).find()).toEqual([{ id: 1, ssn: 'canary' }]);
  });
});
