import { Column, DataSource, Entity, PrimaryGeneratedColumn } from 'typeorm';
import {
  BlindIndex,
  ConfigurationError,
  Encrypted,
  fieldEncryption,
  withFieldEncryption,
} from '../../src';
import type { FieldEncryption, FieldEncryptionOptions } from '../../src';
import { DATABASES, describeDiagonal } from '../support/databases';
import { openEncrypted, temporaryKms } from '../support/encrypted-database';
import type { EncryptedDatabase, OpenOptions } from '../support/encrypted-database';
import { DatabaseRole } from '../support/database-role';
import { rejection } from '../support/protected-database';

@Entity()
class Member {
  @PrimaryGeneratedColumn()
  id!: number;

  @Column()
  tenant!: string;

  @Encrypted()
  @BlindIndex({ unique: true })
  email!: string;
}

const GRANTS = [
  'GRANT USAGE ON SCHEMA public',
  'GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public',
  'GRANT USAGE ON ALL SEQUENCES IN SCHEMA public',
];
/** As applications with tenants have it. Nothing is set, so that the role sees no row. */
const POLICY = [
  'ALTER TABLE member ENABLE ROW LEVEL SECURITY',
  "CREATE POLICY tenants ON member USING (tenant = current_setting('app.tenant', true))",
];
const HIDDEN = { code: 'ERR_CONFIGURATION', entity: 'Member', retryable: false };

/** No other database has row-level security. */
const postgres = DATABASES.find(({ name }) => name === 'postgres')!;
const describeOnPostgres = postgres.unavailable === undefined ? describe : describe.skip;

describeOnPostgres('Rows that row-level security hides from the role', () => {
  const kek = temporaryKms();
  const encryption = {
    kms: kek.kms,
    application: 'clinic',
    keyPolicies: { '*': { retention: { kind: 'untilReencrypted' } } },
  } satisfies FieldEncryptionOptions;
  const disposals: (() => unknown)[] = [];

  afterEach(async () => {
    for (const each of disposals.splice(0).reverse()) await each();
  });
  afterAll(kek.dispose);

  async function owned(policy: readonly string[] = POLICY): Promise<EncryptedDatabase> {
    const opened = await openEncrypted(postgres, { entities: [Member] }, encryption);
    disposals.push(() => opened.dispose());
    await fieldEncryption(opened.dataSource).keys.rotate();
    await opened.dataSource.getRepository(Member).save([
      { tenant: 'a', email: 'ada@example.org' },
      { tenant: 'b', email: 'bob@example.org' },
    ]);
    for (const statement of policy) await opened.dataSource.query(statement);
    return opened;
  }

  async function asRole(owner: DataSource, options: OpenOptions = {}): Promise<DataSource> {
    const role = await DatabaseRole.create(owner, GRANTS);
    disposals.push(() => role.drop());
    const dataSource = withFieldEncryption(
      new DataSource({ ...role.options, ...options } as typeof role.options),
      encryption,
    );
    disposals.push(() => (dataSource.isInitialized ? dataSource.destroy() : undefined));
    return dataSource.initialize();
  }

  async function oldKey({ keys }: FieldEncryption): Promise<string> {
    const before = (await keys.list()).find(({ state }) => state === 'active')!;
    await keys.rotate();
    return before.id;
  }

  const works: readonly (readonly [string, (it: FieldEncryption, id: string) => unknown])[] = [
    ['status', (it) => it.status()],
    ['a run', (it) => it.reencrypt()],
    ['a dry run', (it) => it.reencrypt({ dryRun: true })],
    ['a run with rows that come first', (it) => it.reencrypt({ first: { Member: 'id > 0' } })],
    ['verify', (it) => it.verify()],
    ['the uses of a key', (it, id) => it.keys.uses(id)],
    ['destroy', (it, id) => it.keys.destroy(id, { graceMs: 0 })],
  ];

  it('are never taken for absent: what counts or walks rows is refused, and nothing is erased', async () => {
    const { dataSource: owner } = await owned();
    const dataSource = await asRole(owner, { poolSize: 1 });
    const restricted = fieldEncryption(dataSource);
    const id = await oldKey(restricted);

    for (const [, work] of works) {
      const refused = await Promise.resolve(work(restricted, id)).catch((error: unknown) => error);
      expect(refused).toBeInstanceOf(ConfigurationError);
      expect(refused).toMatchObject(HIDDEN);
      expect(String(refused)).toContain('BYPASSRLS');
    }
    expect(await restricted.keys.maintain({ graceMs: 0 })).toMatchObject({
      destroyed: [],
      failures: [{ keyName: 'default', code: 'ERR_CONFIGURATION' }, { code: 'ERR_CONFIGURATION' }],
    });
    expect(await owner.getRepository(Member).find({ order: { id: 'ASC' } })).toMatchObject([
      { email: 'ada@example.org' },
      { email: 'bob@example.org' },
    ]);
  });

  it('leave the connections of the application as they were', async () => {
    const { dataSource: owner } = await owned();
    const dataSource = await asRole(owner, { poolSize: 1 });
    const restricted = fieldEncryption(dataSource);
    const id = await oldKey(restricted);
    for (const [, work] of works)
      await Promise.resolve(work(restricted, id)).catch(() => undefined);

    await dataSource.query("SELECT set_config('app.tenant', 'b', false)");
    const members = dataSource.getRepository(Member);
    expect(await members.find()).toMatchObject([{ email: 'bob@example.org' }]);
    await members.save({ tenant: 'b', email: 'bea@example.org' });
    expect(await members.findOneBy({ email: 'bea@example.org' })).toMatchObject({ tenant: 'b' });
  });

  it('leave a transaction of the application as it was, where a first key is looked for in it', async () => {
    const { dataSource: owner } = await owned();
    await owner.query('DELETE FROM data_keys; DELETE FROM field_encryption_audit');
    const dataSource = await asRole(owner, { poolSize: 1 });
    await dataSource.transaction(async (manager) => {
      await manager.query("SELECT set_config('app.tenant', 'b', true)");
      await manager.query("UPDATE member SET tenant = 'b' WHERE tenant = 'b'");
      const refused: unknown = await manager
        .save(Member, { tenant: 'b', email: 'bea@example.org' })
        .catch((error: unknown) => error);
      expect(refused).toMatchObject(HIDDEN);
      expect(await manager.count(Member)).toBe(1);
      expect(await manager.query('SHOW row_security')).toEqual([{ row_security: 'on' }]);
    });
    expect(await owner.query("SELECT id FROM data_keys WHERE purpose <> 'audit'")).toEqual([]);
  });

  it('stand in nobody’s way who sees them: the owner, and a role with BYPASSRLS', async () => {
    const { dataSource: owner } = await owned();
    const dataSource = await asRole(owner);
    const [{ role }]: [{ role: string }] = await dataSource.query('SELECT current_user AS role');
    await owner.query(`ALTER ROLE ${role} BYPASSRLS`);
    const seeing = fieldEncryption(dataSource);
    const id = await oldKey(seeing);
    expect(await seeing.reencrypt()).toMatchObject({ changed: 2, remaining: 0 });
    expect((await seeing.keys.destroy(id, { graceMs: 0 })).columns).toMatchObject([
      { rows: 2, rowsUnderKey: 0 },
    ]);
  });

  it('count for an owner, too, where they are forced upon it', async () => {
    const { dataSource: superuser } = await owned();
    const dataSource = await asRole(superuser);
    const [{ role }]: [{ role: string }] = await dataSource.query('SELECT current_user AS role');
    await superuser.query(`ALTER TABLE member OWNER TO ${role}`);
    expect(await fieldEncryption(dataSource).status()).toMatchObject([{ rows: 2 }]);
    await superuser.query('ALTER TABLE member FORCE ROW LEVEL SECURITY');
    await expect(fieldEncryption(dataSource).status()).rejects.toMatchObject(HIDDEN);
    await superuser.query(`ALTER TABLE member OWNER TO CURRENT_USER`);
  });

  it('do not keep a key from being revoked, and the plan says that they are not seen', async () => {
    const { dataSource: owner } = await owned();
    const restricted = fieldEncryption(await asRole(owner));
    const active = (await restricted.keys.list()).find(({ state }) => state === 'active')!;
    expect(await restricted.keys.revoke(active.id)).toMatchObject({
      key: { state: 'compromised' },
      replacement: { state: 'active' },
      plan: null,
    });
  });

  it('are what the doctor warns of, and an error in the tables of the library', async () => {
    const { dataSource: owner } = await owned();
    const dataSource = await asRole(owner);
    const codes = async (of: DataSource): Promise<string[]> =>
      (await fieldEncryption(of).doctor())
        .filter(({ code }) => code.endsWith('ROWS_HIDDEN'))
        .map(({ code, level }) => `${level} ${code}`);
    expect(await codes(owner)).toEqual([]);
    expect(await codes(dataSource)).toEqual(['warning ROWS_HIDDEN']);
    await owner.query('ALTER TABLE data_keys ENABLE ROW LEVEL SECURITY');
    expect(await codes(dataSource)).toEqual(['error OWN_ROWS_HIDDEN', 'warning ROWS_HIDDEN']);
  });

  it.each([
    ['that lets the role see its rows', [POLICY[1]!]],
    ['that has an index of its own', [POLICY[1]!, 'CREATE INDEX ON member (tenant)']],
    [
      'that asks another table',
      [
        'CREATE TABLE staff (name varchar, tenant varchar)',
        'GRANT SELECT ON staff TO PUBLIC',
        'CREATE POLICY staff ON member USING (tenant IN (SELECT tenant FROM staff WHERE name = current_user))',
      ],
    ],
    ['for others alone, which leaves the role no row', []],
  ])('do not make the doctor doubt the index: a policy %s', async (_which, policy) => {
    const { dataSource: owner } = await owned([POLICY[0]!, ...policy]);
    const dataSource = await asRole(owner);
    const found = await fieldEncryption(dataSource).doctor();
    const codes = found.filter(({ level }) => level !== 'info').map(({ code }) => code);
    expect(codes).toEqual(['ROWS_HIDDEN']);
  });

  it('count for roots of the blind indexes', async () => {
    const { dataSource: owner } = await owned();
    const first = fieldEncryption(owner);
    await first.keys.rotateIndex();
    const restricted = fieldEncryption(await asRole(owner));
    const announced = (await first.keys.indexRoots()).find(({ state }) => state === 'preActive')!;
    await expect(restricted.keys.uses(announced.id)).rejects.toMatchObject(HIDDEN);
    await expect(restricted.keys.destroy(announced.id)).rejects.toMatchObject(HIDDEN);
    expect(await first.keys.uses(announced.id)).toMatchObject([{ rows: 2, rowsUnderKey: 0 }]);
    expect((await first.keys.destroy(announced.id)).columns).toMatchObject([{ rows: 2 }]);
  });
});

describeDiagonal('A view in the place of an encrypted table', (database) => {
  let opened: EncryptedDatabase;
  beforeEach(async () => {
    opened = await openEncrypted(
      database,
      { entities: [Member] },
      { keyPolicies: { '*': { retention: { kind: 'untilReencrypted' } } } },
    );
  });
  afterEach(() => opened.dispose());

  it('proves of no key that nothing needs it', async () => {
    const { dataSource } = opened;
    const { keys } = fieldEncryption(dataSource);
    await dataSource.getRepository(Member).save({ tenant: 'a', email: 'ada@example.org' });
    const [old] = await keys.list();
    const id = String(old?.id);
    await keys.rotate();
    await dataSource.query('ALTER TABLE member RENAME TO member_kept');
    await dataSource.query('CREATE VIEW member AS SELECT * FROM member_kept WHERE 1 = 0');

    for (const work of [() => keys.uses(id), () => keys.destroy(id, { graceMs: 0 })]) {
      const refused = await rejection(work);
      expect(refused).toMatchObject(HIDDEN);
      expect(refused.message).toContain('is no table');
    }
    expect(await keys.maintain({ graceMs: 0 })).toMatchObject({
      destroyed: [],
      failures: [{ keyName: 'default', code: 'ERR_CONFIGURATION' }],
    });
    expect(await keys.revoke(id)).toMatchObject({ key: { state: 'compromised' }, plan: null });
    await dataSource.query('DROP VIEW member');
    await dataSource.query('ALTER TABLE member_kept RENAME TO member');
    expect(await dataSource.getRepository(Member).find()).toMatchObject([
      { email: 'ada@example.org' },
    ]);
  });
});
