import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { DataSource } from 'typeorm';
import {
  BlindIndex,
  Encrypted,
  ErasedError,
  fieldEncryption,
  KeyScope,
  KeyUnwrapError,
  localKms,
  UnauthenticatedKeyError,
} from '../../src';
import type { FieldEncryptionOptions, KmsProvider } from '../../src';
import { newDataKeyId } from '../../src/format/data-key-id';
import type { DataKey } from '../../src/keys/key-source';
import type { ScopeKeyRecord } from '../../src/keys/record/scope-key-record';
import { sealedReceipt } from '../../src/keys/scopes/erasure/erasure-receipt';
import { sealScopeKey } from '../../src/keys/scopes/sealed-scope-key';
import { dataKey } from '../../src/keys/wrapping/unwrapped-key';
import { azureKms } from '../../src/kms/azure';
import { installationOf } from '../../src/typeorm/installation/installations';
import { ACCESS_TOKEN, AzureDouble } from '../support/azure-double';
import { describeDiagonal } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { azureBeforeSignatures, forgedRecord, wrapWithPublicKey } from '../support/key-forger';
import { Cleanup, keyFileKms, protect, rejection } from '../support/protected-database';

@Entity()
class Patient {
  @PrimaryColumn('uuid') id: string = randomUUID();
  @KeyScope({ kind: 'tenant' }) @Column() tenantId!: number;
  @Encrypted({ type: 'string', nullable: true }) @BlindIndex() ssn?: string | null;
  @Encrypted({ type: 'string', nullable: true }) note?: string | null;
}

function patient(tenantId: number, values: Partial<Patient> = {}): Patient {
  return Object.assign(new Patient(), { tenantId, note: 'canary note', ...values });
}

/** Bytes that the attacker knows. */
const known = randomBytes(32);

/** Puts a key or mark into the table that is sealed by whatever the attacker has. */
async function plant(
  dataSource: DataSource,
  branch: DataKey,
  fields: Pick<ScopeKeyRecord, 'scope' | 'purpose'> & Partial<ScopeKeyRecord>,
): Promise<ScopeKeyRecord> {
  const isData = fields.purpose === 'data';
  const record = sealScopeKey(
    branch,
    {
      ...{ id: newDataKeyId(), kind: 'tenant', version: 1, state: 'active' },
      suite: isData ? 'xaes-256-gcm' : 'hmac-sha-256',
      since: new Date(Math.floor(Date.now() / 1000) * 1000),
      ...fields,
    },
    'default',
    contentOf(fields.purpose),
  );
  const { scopes } = installationOf(dataSource).keys;
  expect(await scopes.store.apply([], [record], () => Promise.resolve([]))).toBe(true);
  return record;
}

function contentOf(purpose: ScopeKeyRecord['purpose']): Uint8Array {
  return purpose === 'data' || purpose === 'index' ? known : new Uint8Array();
}

const readAll = (dataSource: DataSource, tenantId: number): Promise<Patient[]> =>
  dataSource.manager.findBy(Patient, { tenantId });
const write = (dataSource: DataSource, tenantId: number, values?: Partial<Patient>) =>
  dataSource.manager.insert(Patient, patient(tenantId, values));
const shred = (dataSource: DataSource, tenant: number) =>
  fieldEncryption(dataSource).keys.shred({ scope: { tenant }, reason: 'r', graceMs: 0 });

describeDiagonal('A key of a scope that another data key has sealed', (database) => {
  const cleanup = new Cleanup();
  const folder = mkdtempSync(join(tmpdir(), 'field-encryption-key-'));
  const file = join(folder, 'bank');
  writeFileSync(file, randomBytes(32).toString('hex'), { mode: 0o600 });
  const bank = localKms({ keyFile: file });
  let created: TestDatabase;
  let dataSource: DataSource;

  afterAll(() => {
    rmSync(folder, { recursive: true, force: true });
  });
  afterEach(() => cleanup.run());
  beforeEach(async () => {
    created = await cleanup.create(database, { entities: [Patient], synchronize: true });
    dataSource = await open();
    await write(dataSource, 7);
    await write(dataSource, 8);
  });

  /** A process that has used scope 7, whose KMS is its own. */
  async function open(): Promise<DataSource> {
    const common = keyFileKms();
    const kms: FieldEncryptionOptions['kms'] = (scope) => (scope?.id === '7' ? bank : common);
    const opened = cleanup.add(await protect(created, { kms }).initialize());
    await readAll(opened, 7).catch(() => undefined);
    return opened;
  }

  const branchOf = (id: string): DataKey =>
    installationOf(dataSource).keys.scopes.branches.activeFor({ kind: 'tenant', id });

  async function expectRefusal(work: (opened: DataSource) => Promise<unknown>): Promise<void> {
    const error = await rejection(work(await open()));
    expect(error).toBeInstanceOf(KeyUnwrapError);
    expect(error.message).toContain('which is no branch key of its scope');
  }

  it('is no key of a scope that has the common KMS', async () => {
    await plant(dataSource, branchOf('7'), { scope: '9', purpose: 'data' });
    await expectRefusal((opened) => write(opened, 9));
    await plant(dataSource, branchOf('7'), { scope: '10', purpose: 'index' });
    await expectRefusal((opened) => write(opened, 10, { ssn: 'canary ssn' }));
    await expectRefusal((opened) => opened.manager.countBy(Patient, { tenantId: 10, ssn: 'x' }));
  });

  it('is no newer version of one', async () => {
    await dataSource.query(
      `UPDATE field_encryption_scope_keys SET state = 'deactivated' WHERE scope = '8'`,
    );
    await plant(dataSource, branchOf('7'), { scope: '8', purpose: 'data', version: 2 });
    await expectRefusal((opened) => write(opened, 8));
  });

  it.each(['8', '7'])('is no mark of scope %s', async (scope) => {
    await plant(dataSource, branchOf('7'), { scope, purpose: 'hold' });
    await expectRefusal((opened) => shred(opened, Number(scope)));
    await plant(dataSource, branchOf('7'), { scope, purpose: 'erasure', state: 'erased' });
    await expectRefusal((opened) => readAll(opened, Number(scope)));
    await expectRefusal((opened) => write(opened, Number(scope)));
  });

  it('is no receipt of an erasure', async () => {
    const receipt = sealedReceipt(branchOf('7'), {
      ...{ application: 'default', kind: 'tenant', scope: '8', reason: 'r', actor: 'a' },
      ...{ markId: newDataKeyId(), requestedAt: '2026-01-01', erasedAt: '2026-01-02' },
      ...{ keyIds: [], columns: [], replays: null },
    });
    const error = await rejection(fieldEncryption(dataSource).keys.replayShred([receipt]));
    expect(error).toBeInstanceOf(KeyUnwrapError);
    expect(await readAll(dataSource, 8)).toHaveLength(1);
  });

  it('is none either if that is a key of values, whatever its state', async () => {
    const { keys } = installationOf(dataSource);
    await keys.prepare(['default'], { index: false });
    const leaked = keys.activeKey('default');
    await plant(dataSource, leaked, { scope: '9', purpose: 'data' });
    await expectRefusal((opened) => write(opened, 9));
    await fieldEncryption(dataSource).keys.revoke(leaked.id);
    await expectRefusal((opened) => write(opened, 9));
    await plant(dataSource, leaked, { scope: '8', purpose: 'erasure', state: 'erased' });
    await expectRefusal((opened) => readAll(opened, 8));
  });

  it('is not sealed again under a genuine branch', async () => {
    const own = branchOf('7');
    await fieldEncryption(dataSource).keys.rotate(own.name);
    const planted = await plant(dataSource, own, { scope: '9', purpose: 'data' });
    const { failures } = await fieldEncryption(await open()).keys.resealScopes();
    expect(failures).toMatchObject([{ kind: 'tenant', code: 'ERR_KEY_UNWRAP', keys: 1 }]);
    const [row] = await dataSource.query<{ sealed: string }[]>(
      `SELECT sealed FROM field_encryption_scope_keys WHERE id = '${planted.id}'`,
    );
    expect(row?.sealed).toBe(Buffer.from(planted.sealed).toString('base64url'));
  });
});

describeDiagonal('A branch key that could have been made without the KMS', (database) => {
  const cleanup = new Cleanup();
  const double = new AzureDouble();
  const kek = double.makeKey('RSA');
  let created: TestDatabase;

  jest.setTimeout(60_000);
  beforeAll(() => double.http.start());
  afterAll(() => double.http.stop());
  afterEach(() => cleanup.run());
  beforeEach(async () => {
    created = await cleanup.create(database, { entities: [Patient], synchronize: true });
  });

  const azure = (): KmsProvider =>
    azureKms({
      keyId: double.keyId(kek),
      credential: {
        getToken: () =>
          Promise.resolve({ token: ACCESS_TOKEN, expiresOnTimestamp: Date.now() + 3_600_000 }),
      },
      clientOptions: {
        tlsOptions: { ca: double.certificate.cert },
        disableChallengeResourceVerification: true,
      },
    });

  async function open(kms = azure()): Promise<DataSource> {
    return cleanup.add(await protect(created, { kms }).initialize());
  }

  async function expectRefusal(
    branchId: string,
    work: (opened: DataSource) => Promise<unknown>,
  ): Promise<void> {
    const error = await rejection(work(await open()));
    expect(error).toBeInstanceOf(UnauthenticatedKeyError);
    expect(error).toMatchObject({ keyId: branchId });
    expect(error.message).toContain(`field-encryption keys adopt ${branchId}`);
  }

  it('protects nothing with what it has sealed, if somebody made it up', async () => {
    const dataSource = await open();
    await write(dataSource, 8);
    const record = forgedRecord(known, wrapWithPublicKey(double, kek, known), {
      ...{ name: 'branch', version: 7, state: 'deactivated', deactivatedAt: new Date(0) },
    });
    expect(await installationOf(dataSource).store.apply([{ type: 'insert', record }])).toBe(true);
    const { id, name, version } = record;
    const branch = dataKey(
      { id, name, version, suite: 'xaes-256-gcm', isAuthenticated: true },
      known,
      { uses: { pending: 0 }, nonces: undefined },
    );

    const planted = [await plant(dataSource, branch, { scope: '9', purpose: 'data' })];
    await expectRefusal(id, (opened) => write(opened, 9));
    planted.push(await plant(dataSource, branch, { scope: '10', purpose: 'index' }));
    const ssn = 'canary ssn';
    await expectRefusal(id, (opened) => write(opened, 10, { ssn }));
    await expectRefusal(id, (opened) => opened.manager.countBy(Patient, { tenantId: 10, ssn }));
    const mark = { scope: '8', purpose: 'erasure', state: 'erased' } as const;
    planted.push(await plant(dataSource, branch, mark));
    await expectRefusal(id, (opened) => readAll(opened, 8));
    await expectRefusal(id, (opened) => write(opened, 8));
    await expectRefusal(id, (opened) => shred(opened, 8));
    const { failures } = await fieldEncryption(await open()).keys.resealScopes();
    expect(failures).toMatchObject([{ code: 'ERR_KEY_UNAUTHENTICATED', keys: planted.length }]);

    const rows = await dataSource.query<{ id: string; sealed: string }[]>(
      'SELECT id, sealed FROM field_encryption_scope_keys',
    );
    for (const { id: plantedId, sealed } of planted) {
      const row = rows.find((each) => each.id === plantedId);
      expect(row?.sealed).toBe(Buffer.from(sealed).toString('base64url'));
    }
  });

  it('opens what it has sealed to read it, and is whole again when it was adopted', async () => {
    const old = await open(azureBeforeSignatures(double, kek, azure()));
    await write(old, 8, { ssn: 'canary ssn' });
    await old.destroy();
    const dataSource = await open();
    expect(await readAll(dataSource, 8)).toMatchObject([{ note: 'canary note' }]);
    const { keys } = fieldEncryption(dataSource);
    const unauthenticated = await keys.unauthenticated();
    await expect(write(dataSource, 8)).rejects.toBeInstanceOf(UnauthenticatedKeyError);
    await expect(keys.rotateScope({ tenant: 8 })).rejects.toBeInstanceOf(UnauthenticatedKeyError);
    await expect(shred(dataSource, 8)).rejects.toBeInstanceOf(UnauthenticatedKeyError);

    await keys.adopt({ ids: unauthenticated.map(({ id }) => id) });
    const adopted = await open();
    await write(adopted, 8);
    expect(await readAll(adopted, 8)).toHaveLength(2);
    await shred(adopted, 8);
    await expect(readAll(await open(), 8)).rejects.toBeInstanceOf(ErasedError);
  });
});
