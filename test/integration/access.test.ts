import { Column, Entity, In, PrimaryColumn } from 'typeorm';
import type { DataSource } from 'typeorm';
import {
  AccessDeniedError,
  BlindIndex,
  ConfigurationError,
  Encrypted,
  fieldEncryption,
  KeyNotFoundError,
  runAs,
  UnsupportedValueError,
} from '../../src';
import type { AccessLevel, Actor, AuditEntry, FieldEncryptionOptions } from '../../src';
import { workOnRuns } from '../../src/reencryption/pg-boss';
import { describeDiagonal } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { Cleanup, keyFileKms, protect, rejection } from '../support/protected-database';

@Entity()
class Patient {
  @PrimaryColumn() id!: number;
  @Column() ward!: string;
  @Encrypted() @BlindIndex() ssn!: string;
  @Encrypted({ type: 'string', nullable: true }) note!: string | null;
}

const LEVELS: Readonly<Record<string, AccessLevel>> = {
  ...{ clerk: 0, nurse: 1, manager: 2, officer: 3, root: 4 },
};
const levelOf = (actor: Actor | undefined): AccessLevel =>
  LEVELS[actor?.roles?.[0] ?? 'clerk'] ?? 0;

/** Runs work in the role of the same name. */
const as = <T>(role: string, work: () => Promise<T>): Promise<T> =>
  runAs({ id: `${role}@clinic`, roles: [role] }, work);

describeDiagonal('Access', (kind) => {
  const cleanup = new Cleanup();
  let database: TestDatabase;
  let dataSource: DataSource;

  async function connect(options: Partial<FieldEncryptionOptions> = {}): Promise<DataSource> {
    return cleanup.add(protect(database, { access: { levelOf }, ...options })).initialize();
  }

  beforeEach(async () => {
    database = await cleanup.create(kind, { entities: [Patient], synchronize: true });
    dataSource = await connect();
    await as('nurse', () => patients().insert({ id: 1, ward: 'A', ssn: 'canary-1' }));
  });
  afterEach(() => cleanup.run());

  const patients = () => dataSource.getRepository(Patient);
  const keys = () => fieldEncryption(dataSource).keys;
  const recorded = async (outcome: string): Promise<AuditEntry[]> =>
    (await fieldEncryption(dataSource).audit.list()).filter((entry) => entry.outcome === outcome);

  it('of level 0 sees what is not encrypted, and what there is', async () => {
    await as('clerk', async () => {
      expect(await patients().find({ select: { id: true, ward: true } })).toHaveLength(1);
      expect(await patients().countBy({ ward: 'A' })).toBe(1);
      await patients().update({ id: 1 }, { ward: 'B' });
      expect(await keys().list()).toHaveLength(1);
      const { approvals, audit, accessLog } = fieldEncryption(dataSource);
      expect(await fieldEncryption(dataSource).status()).toHaveLength(2);
      expect(await keys().uses((await keys().list())[0]?.id ?? '')).toHaveLength(2);
      expect(await keys().statistics()).toMatchObject({ active: 1 });
      expect(await audit.verify()).toMatchObject({ ok: true });
      expect(await approvals.list()).toEqual([]);
      await accessLog.flush();
      await patients().update({ id: 1 }, { note: null });
    });
  });

  const uses: readonly (readonly [string, () => Promise<unknown>])[] = [
    ['a find', () => patients().find()],
    ['a look-up', () => patients().countBy({ ssn: In(['canary-1']) })],
    ['an insert', () => patients().insert({ id: 2, ward: 'A', ssn: 'canary-2' })],
    ['a save', () => patients().save({ id: 2, ward: 'A', ssn: 'canary-2' })],
    ['an update', () => patients().update({ id: 1 }, { ssn: 'canary-2' })],
    ['an upsert', () => patients().upsert({ id: 1, ward: 'A', ssn: 'canary-2' }, ['id'])],
    ['a delete by a look-up', () => patients().delete({ ssn: 'canary-1' })],
    ['a token', () => fieldEncryption(dataSource).token(Patient, 'ssn', 'canary-1')],
    ['a value', () => fieldEncryption(dataSource).encryptValue(Patient, 'ssn', 'canary-1')],
    ['a value of a purpose', () => fieldEncryption(dataSource).value('queue').encrypt('canary-1')],
  ];
  it.each(uses)('of level 1 is needed for %s', async (_, use) => {
    const before: unknown = await dataSource.query('SELECT * FROM patient ORDER BY id');
    const error = await rejection(() => as('clerk', use));
    expect(error).toBeInstanceOf(AccessDeniedError);
    expect(error).toMatchObject({ code: 'ERR_ACCESS_DENIED', retryable: false });
    expect(error.message).not.toContain('canary');
    expect(await rejection(use)).toBeInstanceOf(AccessDeniedError);
    expect(await dataSource.query('SELECT * FROM patient ORDER BY id')).toEqual(before);
    await as('nurse', use);
    expect(await recorded('denied')).toEqual([]);
  });

  const managed: readonly (readonly [string, string, string, () => Promise<unknown>])[] = [
    ['rotate', 'nurse', 'manager', () => keys().rotate()],
    ['data reencrypt', 'nurse', 'manager', () => fieldEncryption(dataSource).reencrypt()],
    ['backup', 'manager', 'officer', () => keys().backup({ kms: keyFileKms() })],
    ['data decrypt', 'officer', 'root', () => fieldEncryption(dataSource).decrypt()],
  ];
  it.each(managed)('refuses %s to a %s and records it', async (operation, below, enough, work) => {
    const before = await keys().list();
    for (let attempt = 0; attempt < 3; attempt += 1) {
      expect(await rejection(as(below, work))).toBeInstanceOf(AccessDeniedError);
    }
    expect(await keys().list()).toEqual(before);
    const actor = `${below}@clinic`;
    expect(await recorded('denied')).toMatchObject([
      { operation, actor, reference: 'ERR_ACCESS_DENIED', counts: {} },
    ]);
    // The others like it are counted together, at the latest when the DataSource ends.
    await dataSource.destroy();
    await dataSource.initialize();
    expect((await recorded('denied')).at(-1)).toMatchObject({
      ...{ operation, actor, counts: { attempts: 2 } },
    });
    const allowed = await as(enough, work).catch((error: unknown) => error);
    expect(allowed).not.toBeInstanceOf(AccessDeniedError);
  });

  it('of maintenance lets keys be destroyed from level 3 on, and else lists them', async () => {
    const retention = { retention: { kind: 'untilReencrypted' } } as const;
    dataSource = await connect({ keyPolicies: { default: retention } });
    const [old] = await keys().list();
    await as('manager', () => keys().rotate());
    await as('manager', () => fieldEncryption(dataSource).reencrypt());
    const maintain = () => keys().maintain({ graceMs: 0 });
    expect(await as('manager', maintain)).toMatchObject({
      ...{ destroyed: [], awaitingApproval: [{ id: old?.id }] },
    });
    expect(await as('officer', maintain)).toMatchObject({ destroyed: [{ id: old?.id }] });
  });

  it('records an attempt that fails, and who did what succeeds', async () => {
    expect(await rejection(as('officer', () => keys().destroy('00'.repeat(8))))).toBeInstanceOf(
      KeyNotFoundError,
    );
    expect(await recorded('failed')).toMatchObject([
      { operation: 'destroy', actor: 'officer@clinic', reference: 'ERR_KEY_NOT_FOUND' },
    ]);
    await as('manager', () => keys().rotate());
    expect((await recorded('done')).at(-1)).toMatchObject({ actor: 'manager@clinic' });
    expect(await fieldEncryption(dataSource).audit.verify()).toMatchObject({ ok: true });
  });

  it('is that of a worker before it takes a job, which would fail each time', async () => {
    const working = rejection(as('nurse', () => workOnRuns(dataSource, { once: true })));
    expect(await working).toBeInstanceOf(AccessDeniedError);
    expect(await recorded('denied')).toMatchObject([
      { operation: 'data encrypt', actor: 'nurse@clinic' },
    ]);
  });

  it('goes by the innermost actor, as it was when its work began', async () => {
    const roles = ['nurse'];
    await runAs({ id: 'a', roles }, async () => {
      roles[0] = 'clerk';
      expect(await patients().find()).toHaveLength(1);
      expect(await rejection(as('clerk', () => patients().find()))).toBeInstanceOf(
        AccessDeniedError,
      );
      expect(await patients().find()).toHaveLength(1);
    });
  });

  it.each([
    [{ id: '' }],
    [{ id: 'a'.repeat(257) }],
    [{ id: 'a', roles: 'nurse' }],
    [{ id: 'a', reason: '' }],
    [{ id: 'a', requester: '' }],
    [undefined],
  ])('refuses the actor %j', async (actor) => {
    const error = await rejection(() => runAs(actor as never, () => undefined));
    expect(error).toBeInstanceOf(UnsupportedValueError);
    expect(error.message).toContain('{ id, requester?, roles?, reason?, breakGlass? }');
  });

  it('refuses a level that there is not, and options that are none', async () => {
    const wrong = await connect({ access: { levelOf: () => 7 as never } });
    expect(await rejection(wrong.getRepository(Patient).find())).toBeInstanceOf(ConfigurationError);
    expect(await rejection(() => connect({ access: {} as never }))).toBeInstanceOf(
      ConfigurationError,
    );
  });

  it('is open to everybody without the option', async () => {
    const open = await connect({ access: undefined as never });
    expect(await open.getRepository(Patient).find()).toHaveLength(1);
    await runAs({ id: 'ada' }, () => fieldEncryption(open).keys.rotate());
    expect((await recorded('done')).at(-1)).toMatchObject({ actor: 'ada' });
  });
});
