import { Entity, PrimaryColumn } from 'typeorm';
import type { DataSource } from 'typeorm';
import { Encrypted, fieldEncryption, runAs } from '../../src';
import type { FieldEncryptionOptions } from '../../src';
import { moveDatabaseClock } from '../support/database-clock';
import { describeDiagonal } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { Cleanup, protect, rejection } from '../support/protected-database';
import { approvalPolicy, SshSigner } from '../support/ssh-signer';

@Entity()
class Patient {
  @PrimaryColumn() id!: number;
  @Encrypted() ssn!: string;
}

const persons = ['ada', 'ben', 'eve'].map((id) => new SshSigner(id));
const POLICY = approvalPolicy(persons, ['destroy', 'rotate']);

describeDiagonal('Doctor and status, of approvals', (kind) => {
  const cleanup = new Cleanup();
  let database: TestDatabase;

  beforeEach(async () => {
    database = await cleanup.create(kind, { entities: [Patient], synchronize: true });
  });
  afterEach(() => cleanup.run());

  async function connect(options: Partial<FieldEncryptionOptions> = {}): Promise<DataSource> {
    return cleanup.add(protect(database, { approvals: POLICY, ...options })).initialize();
  }
  const setPolicy = (source: DataSource) => fieldEncryption(source).approvals.setPolicy();
  async function found(source: DataSource): Promise<string[]> {
    const findings = await fieldEncryption(source).doctor();
    return findings.map(({ code }) => code).filter((code) => /^APPROV/.test(code));
  }
  async function due(source: DataSource): Promise<(string | null)[]> {
    return (await fieldEncryption(source).status()).due.map(({ command }) => command);
  }

  it('have nothing to say without approvals, nor of a policy in force', async () => {
    const without = await connect({ approvals: undefined as never });
    expect([await found(without), await due(without)]).toEqual([[], []]);
    const dataSource = await connect();
    await setPolicy(dataSource);
    expect([await found(dataSource), await due(dataSource)]).toEqual([[], []]);
  });

  it('miss a policy that is not stored', async () => {
    const dataSource = await connect();
    expect(await found(dataSource)).toEqual(['APPROVALS_NOT_IN_FORCE']);
    expect(await due(dataSource)).toEqual(['approvals policy']);
  });

  it.each([[undefined], [{ ...POLICY, operations: ['destroy'] as const }]])(
    'say that what is stored is not the option %p',
    async (approvals) => {
      await setPolicy(await connect());
      const dataSource = await connect({ approvals: approvals as never });
      expect(await found(dataSource)).toEqual(['APPROVALS_NOT_IN_FORCE']);
      expect(await due(dataSource)).toEqual(['approvals policy']);
    },
  );

  it('say that the policy was edited', async () => {
    await setPolicy(await connect());
    const dataSource = await connect();
    await dataSource.query('UPDATE field_encryption_approvals SET version = 2');
    expect(await found(dataSource)).toEqual(['APPROVALS_UNPROVEN']);
    expect(await due(dataSource)).toEqual(['audit verify']);
  });

  it('warn of approvers that one lost key locks out', async () => {
    const dataSource = await connect({
      approvals: { ...POLICY, approvers: POLICY.approvers.slice(1) },
    });
    await setPolicy(dataSource);
    expect(await found(dataSource)).toEqual(['APPROVERS_FEW']);
  });

  it('list requests that are open, and keys whose destruction needs one', async () => {
    const keyPolicies = { '*': { retention: { kind: 'lastVersions', count: 1 } as const } };
    const first = await connect({ approvals: undefined as never });
    const { keys } = fieldEncryption(first);
    await keys.rotate();
    const [key] = await keys.list();
    await setPolicy(await connect());
    const dataSource = await connect({ keyPolicies });
    moveDatabaseClock(dataSource, () => 3_600_000);
    expect(await due(dataSource)).toEqual([`keys destroy ${key?.id ?? ''}`]);
    await rejection(runAs({ id: 'ada' }, () => fieldEncryption(dataSource).keys.rotate()));
    expect(await due(dataSource)).toContain('approvals list');
  });
});
