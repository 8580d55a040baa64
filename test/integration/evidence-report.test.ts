import { DataSource, Column, Entity, PrimaryGeneratedColumn } from 'typeorm';
import {
  BlindIndex,
  Encrypted,
  fieldEncryption,
  policyFor,
  runAs,
  withFieldEncryption,
} from '../../src';
import type { EvidenceReport, FieldEncryptionOptions, KmsProvider, Rule } from '../../src';
import { describeEachDatabase } from '../support/databases';
import { openEncrypted, temporaryKms } from '../support/encrypted-database';
import type { EncryptedDatabase } from '../support/encrypted-database';
import { fastLocalKms } from '../support/key-fixtures';
import { sqlOf } from '../support/sql-of';

@Entity()
class Patient {
  @PrimaryGeneratedColumn()
  id!: number;

  @Column()
  ward!: string;

  @Column({ nullable: true, type: 'varchar' })
  remark!: string | null;

  @Encrypted({ check: true, bindTo: ['id'] })
  @BlindIndex({ unique: true })
  email!: string;

  @Encrypted({ type: 'bytes', storage: 'binary', nullable: true })
  scan!: Buffer | null;
}

@Entity()
class Letter {
  @PrimaryGeneratedColumn()
  id!: number;

  @Encrypted()
  text!: string;
}

const kek = temporaryKms();
afterAll(kek.dispose);

const DAY_MS = 86_400_000;
const strict = { ...policyFor('high'), owner: 'security' };
const CONFIGURED = { kms: kek.kms, application: 'clinic', keyPolicies: { '*': strict } };

/** The KMS, whose KEK was made a thousand days ago. */
const agedKms: KmsProvider = {
  name: kek.kms.name,
  wrapKey: (...args) => kek.kms.wrapKey(...args),
  unwrapKey: (...args) => kek.kms.unwrapKey(...args),
  health: async () => ({
    ...(await kek.kms.health()),
    kekCreatedAt: new Date(Date.now() - 1000 * DAY_MS),
  }),
};

describeEachDatabase('The report', (kind) => {
  const opened: (() => unknown)[] = [];
  afterEach(async () => {
    for (const dispose of opened.splice(0).reverse()) await dispose();
  });

  async function open(encryption: Partial<FieldEncryptionOptions> = {}): Promise<EncryptedDatabase> {
    const database = await openEncrypted(
      kind,
      { entities: [Patient, Letter] },
      { ...CONFIGURED, ...encryption },
    );
    opened.push(() => database.dispose());
    const { manager } = database.dataSource;
    const email = ['canary-1@example.org', 'canary-2@example.org', 'canary-3@example.org'];
    await manager.insert(
      Patient,
      email.map((address) => ({ email: address, ward: 'A', scan: Buffer.from('canary scan') })),
    );
    await manager.insert(Letter, [{ text: 'canary letter' }, { text: 'short' }]);
    return database;
  }

  /** Another process on the database, with other options. */
  async function reopen(
    { dataSource }: EncryptedDatabase,
    encryption: Partial<FieldEncryptionOptions>,
  ): Promise<DataSource> {
    // SQLite in memory is there for one connection only.
    const other = withFieldEncryption(
      new DataSource({ ...dataSource.options, synchronize: false } as typeof dataSource.options),
      { ...CONFIGURED, ...encryption },
    );
    await other.initialize();
    opened.push(() => (other.isInitialized ? other.destroy() : undefined));
    return other;
  }

  async function drilled(dataSource: DataSource): Promise<void> {
    const { keys } = fieldEncryption(dataSource);
    const kms = fastLocalKms('the passphrase of the backup');
    const { file } = await keys.backup({ kms });
    expect(await keys.drill(file, { kms })).toMatchObject({ ok: true });
  }

  const rulesOf = ({ violations }: EvidenceReport): string[] => [
    ...new Set(violations.map(({ rule }) => rule)),
  ];

  it('finds nothing on a database that keeps all rules', async () => {
    const { dataSource } = await open({ accessLog: {} });
    await drilled(dataSource);
    await runAs({ id: 'ada' }, () => dataSource.manager.find(Letter));
    await fieldEncryption(dataSource).accessLog.flush();

    const report = await runAs({ id: 'auditor' }, () => fieldEncryption(dataSource).report());

    expect(report.violations).toEqual([]);
    expect(report.columns.map(({ entity, property }) => `${entity}.${property}`)).toEqual([
      'Patient.email',
      'Patient.scan',
      'Letter.text',
    ]);
    const [email, scan, letter] = report.columns;
    expect(email).toMatchObject({
      ...{ rows: 3, cleartextRows: 0, boundTo: ['id'], check: { present: true } },
      indexes: [{ bits: 256, unique: true, exists: true, rowsWithoutToken: 0 }],
      sample: { values: 3, verified: 3, sought: 3, failures: {}, readableIn: {} },
    });
    expect(scan).toMatchObject({ storage: 'binary', sample: { verified: 3, sought: 3 } });
    expect(letter).toMatchObject({ sample: { values: 2, verified: 2, sought: 1 } });
    expect(report.unencrypted.map(({ column }) => column)).toEqual(['ward', 'remark']);
    expect(report.unmapped.found).toEqual([]);
    expect(report.keys.map(({ purpose, state }) => [purpose, state])).toEqual([
      ['data', 'active'],
      ['index', 'active'],
      ['audit', 'active'],
    ]);
    expect(report.keys[0]?.history).toMatchObject([{ operation: 'create', state: 'active' }]);
    expect(report.audit).toMatchObject({ ok: true, kept: true, broken: null });
    expect(report.backups).toHaveLength(1);
    expect(report.drills).toMatchObject([{ ok: true, backupId: report.backups[0]?.backupId }]);
    const [drill] = report.drills;
    expect(Math.min(Number(drill?.rpoMs), Number(drill?.rtoMs))).toBeGreaterThanOrEqual(0);
    expect(report.access.uses).toMatchObject([
      { actor: 'ada', operation: 'decrypt', entity: 'Letter', property: 'text', values: 2 },
    ]);
    expect(JSON.parse(JSON.stringify(report))).toEqual(report);
  });
});
