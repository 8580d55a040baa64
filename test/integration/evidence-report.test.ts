import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Ajv from 'ajv';
import addFormats from 'ajv-formats';
import { Column, DataSource, Entity, PrimaryColumn, PrimaryGeneratedColumn } from 'typeorm';
import {
  BlindIndex,
  Encrypted,
  fieldEncryption,
  KeyScope,
  policyFor,
  runAs,
  withFieldEncryption,
} from '../../src';
import type { EvidenceReport, FieldEncryptionOptions, KmsProvider, Rule } from '../../src';
import { DatabaseRole } from '../support/database-role';
import { describeEachDatabase } from '../support/databases';
import { openEncrypted, temporaryKms } from '../support/encrypted-database';
import type { EncryptedDatabase, OpenOptions } from '../support/encrypted-database';
import { fastLocalKms } from '../support/key-fixtures';
import { qualified, quoted } from '../support/sql-of';

@Entity()
class Patient {
  @PrimaryColumn()
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

  @Encrypted({ check: false })
  text!: string;
}

@Entity()
class Note {
  @PrimaryColumn()
  id!: number;

  @KeyScope({ kind: 'tenant' })
  @Column()
  tenant!: string;

  @Encrypted()
  @BlindIndex()
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

  async function open(
    encryption: Partial<FieldEncryptionOptions> = {},
    options: OpenOptions = {},
  ): Promise<EncryptedDatabase> {
    const database = await openEncrypted(
      kind,
      { entities: [Patient, Letter], ...options },
      { ...CONFIGURED, ...encryption },
    );
    opened.push(() => database.dispose());
    const { manager } = database.dataSource;
    const email = ['canary-1@example.org', 'canary-2@example.org', 'canary-3@example.org'];
    await manager.insert(
      Patient,
      email.map((address, i) => ({
        id: i,
        email: address,
        ward: 'A',
        scan: Buffer.from('canary scan'),
      })),
    );
    await manager.insert(Letter, [{ text: 'canary letter' }, { text: 'short' }]);
    return database;
  }

  /** Another process on the database, with other options. */
  async function reopen(
    { dataSource }: EncryptedDatabase,
    encryption: Partial<FieldEncryptionOptions>,
    options = dataSource.options,
  ): Promise<DataSource> {
    const other = withFieldEncryption(new DataSource({ ...options, synchronize: false }), {
      ...CONFIGURED,
      ...encryption,
    });
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
    expect(drill).toMatchObject({ rpoMs: expect.any(Number), rtoMs: expect.any(Number) });
    expect(report.access.uses).toMatchObject([
      { actor: 'ada', operation: 'decrypt', entity: 'Letter', property: 'text', values: 2 },
    ]);
    expect(JSON.parse(JSON.stringify(report))).toEqual(report);
  });

  /** Breaks ten rules in the database itself, or by the options of another process. */
  async function planted(): Promise<DataSource> {
    const longAgo = new Date(Date.now() - 400 * DAY_MS);
    const database = await open({ now: () => longAgo });
    const { dataSource } = database;
    await drilled(dataSource);
    const key = await fieldEncryption(dataSource).keys.rotate();
    const [check] = dataSource
      .getMetadata(Patient)
      .checks.filter(({ expression }) => expression.includes('scan'));
    const statements = [
      `INSERT INTO letter (text) VALUES ('canary readable')`,
      'CREATE TABLE letter_copy AS SELECT * FROM letter',
      ...(kind.dialect === 'sqlite'
        ? [
            'CREATE TABLE other AS SELECT * FROM patient',
            'DROP TABLE patient',
            'ALTER TABLE other RENAME TO patient',
          ]
        : [`ALTER TABLE patient DROP CONSTRAINT ${quoted(kind, String(check?.name))}`]),
      `UPDATE data_keys SET state = 'destroyed' WHERE version = ${String(key.version - 1)} AND purpose = 'data'`,
      'DELETE FROM field_encryption_audit WHERE seq = 2',
      // Beside its ciphertext.
      `UPDATE patient SET remark = 'write to CANARY-1@example.org' WHERE id = 0`,
    ];
    for (const statement of statements) await dataSource.query(statement);
    await dataSource.manager.insert(Letter, { text: 'canary newer' });
    const rotation = { kind: 'periodic', everyDays: 1e-9 } as const;
    return reopen(database, {
      audit: false,
      kms: agedKms,
      keyPolicies: { '*': { ...policyFor('low'), owner: 'security', rotation } },
    });
  }

  it('lists what breaks its rules', async () => {
    const dataSource = await planted();

    const report = await fieldEncryption(dataSource).report();

    expect(rulesOf(report)).toEqual(
      expect.arrayContaining([
        'cleartext-rows',
        'key-overdue',
        'check-missing',
        'kek-too-old',
        'level-unmet',
        'unmapped-ciphertexts',
        'audit-off',
        'drill-old',
        'lost-key-rows',
        'audit-broken',
      ]),
    );
    const of = (rule: string): unknown =>
      report.violations.filter((violation) => violation.rule === rule);
    expect(of('cleartext-rows')).toMatchObject([
      { subject: 'Letter.text', message: '1 rows hold no ciphertext.', severity: 'high' },
    ]);
    expect(report.unmapped.found).toMatchObject([{ column: 'text', rows: 2 }]);
    expect(of('audit-broken')).toContainEqual(
      expect.objectContaining({ subject: 'entry 2', message: 'It is missing.' }),
    );
    expect(of('level-unmet')).toMatchObject([{ message: expect.stringContaining('level high') }]);
    for (const { rule, remedy, controls } of report.violations) {
      expect([rule, remedy.length > 10, controls.length > 0]).toEqual([rule, true, true]);
      expect(report.rules).toContainEqual(expect.objectContaining({ id: rule }));
    }
  });

  it('misses the table of the access log, and finds ciphertexts in columns of any type', async () => {
    const { dataSource } = await open({ accessLog: {} });
    await fieldEncryption(dataSource).accessLog.flush();
    await dataSource.query('DROP TABLE field_encryption_access');
    const anyType = kind.dialect === 'sqlite' ? 'integer' : 'text';
    await dataSource.query(`CREATE TABLE letter_copy (copied ${anyType})`);
    await dataSource.query('INSERT INTO letter_copy SELECT text FROM letter');
    await dataSource.query(`ALTER TABLE letter ADD copied_too ${anyType}`);
    await dataSource.query('UPDATE letter SET copied_too = text');

    const report = await fieldEncryption(dataSource).report();

    expect(rulesOf(report)).toEqual(
      expect.arrayContaining(['access-log-missing', 'unmapped-ciphertexts']),
    );
    expect(report.access).toMatchObject({ kept: 'table', missing: true, sql: null });
    expect(report.unmapped.found).toMatchObject([
      { column: 'copied_too', rows: 2 },
      { column: 'copied', rows: 2 },
    ]);
  });

  it('finds a plaintext that is stored beside its ciphertext', async () => {
    const { dataSource } = await open();
    await dataSource.query(
      `UPDATE patient SET remark = 'write to CANARY-1@example.org' WHERE id = 0`,
    );
    const report = await fieldEncryption(dataSource).report();
    expect(report.columns[0]?.sample.readableIn).toEqual({ remark: 1 });
    expect(report.violations).toContainEqual(
      expect.objectContaining({ rule: 'plaintext-beside', subject: 'Patient.email' }),
    );
  });

  it('holds no value, token, ciphertext or key, and validates by its schema', async () => {
    const dataSource = await planted();
    const stored = await dataSource.query('SELECT * FROM patient');
    const letters = await dataSource.query('SELECT text FROM letter');
    const keys = await dataSource.query('SELECT wrapped_key, record_mac, state_mac FROM data_keys');
    const report = await fieldEncryption(dataSource).report();

    const text = JSON.stringify(report);
    const secrets = [stored, letters, keys]
      .flat()
      .flatMap((row: Record<string, unknown>) => Object.entries(row))
      .filter(([column]) => !['id', 'ward'].includes(column))
      .flatMap(([, cell]) =>
        Buffer.isBuffer(cell)
          ? (['hex', 'base64', 'base64url'] as const).map((form) => cell.toString(form))
          : typeof cell === 'string'
            ? [cell]
            : [],
      )
      .filter((secret) => secret.length >= 6);
    expect(secrets.length).toBeGreaterThan(20);
    expect(secrets.filter((secret) => text.includes(secret))).toEqual([]);
    expect(text).not.toMatch(/canary/i);
    const schema = readFileSync(join(__dirname, '../../docs/report-v1.schema.json'), 'utf8');
    const validate = addFormats(new Ajv({ allowUnionTypes: true })).compile(
      JSON.parse(schema) as object,
    );
    expect([validate(report), validate.errors]).toEqual([true, null]);
    expect(validate({ ...report, secret: 1 })).toBe(false);
  });

  it('lists signing keys, and a key whose row cannot be read, of which the audit log tells', async () => {
    const { dataSource } = await open();
    await fieldEncryption(dataSource).sign('letter', { context: 'letter' });
    await dataSource.query("UPDATE data_keys SET created_at = '' WHERE purpose = 'index'");
    const { keys, suites, violations } = await fieldEncryption(dataSource).report();
    expect(keys).toContainEqual(expect.objectContaining({ purpose: 'signing', suite: 'ed25519' }));
    expect(suites.map(({ suite }) => suite)).toContain('ed25519');
    expect(keys).toContainEqual(expect.objectContaining({ purpose: 'index', createdAt: null }));
    expect(violations.map(({ rule }) => rule)).toContain('audit-broken');
  });

  it('names SQL that yields its counts', async () => {
    const dataSource = await planted();
    const report = await fieldEncryption(dataSource).report();
    const total = async (sql: string | null, name = 'total'): Promise<number> => {
      const rows = await dataSource.query<Record<string, unknown>[]>(String(sql));
      return rows.reduce((sum, row) => sum + Number(row[name]), 0);
    };
    for (const { sql, rows, indexes } of report.columns) {
      expect(await total(sql)).toBe(rows);
      for (const index of indexes) expect(await total(index.sql)).toBe(index.rowsWithoutToken);
    }
    for (const { sql, rows, column } of report.unmapped.found) {
      expect(await total(sql, column)).toBe(rows);
    }
    const wrapped = report.keks.reduce((sum, { keys }) => sum + keys, 0);
    expect(await total(report.keks[0]?.sql ?? null)).toBe(wrapped);
    expect(await total(report.audit.sql)).toBe(report.audit.entries);
    expect(report.audit.operations.reduce((sum, { count }) => sum + count, 0)).toBe(
      report.audit.entries,
    );
  });

  it('covers keys of scopes, those of erased ones among them', async () => {
    const database = await openEncrypted(kind, { entities: [Note] }, CONFIGURED);
    opened.push(() => database.dispose());
    const { dataSource } = database;
    await dataSource.manager.insert(Note, [
      { id: 1, tenant: 'ada', text: 'canary of ada' },
      { id: 2, tenant: 'bob', text: 'canary of bob' },
    ]);
    const { keys } = fieldEncryption(dataSource);
    await keys.shred({ scope: 'bob', reason: 'asked for', graceMs: 0 });
    await keys.shred({ scope: 'bob', reason: 'asked for', graceMs: 0 });
    await drilled(dataSource);

    const report = await fieldEncryption(dataSource).report();

    expect(report.violations).toEqual([]);
    const [{ sql, scopes, sample } = {}] = report.columns;
    expect(scopes).toMatchObject({ kind: 'tenant', activeRows: 1, erasedRows: 1 });
    expect(sample).toMatchObject({ values: 2, verified: 1, failures: { ERR_ERASED: 1 } });
    expect(report.notChecked).toContainEqual({
      subject: 'Note.text',
      reason: '1 sampled values were not read: ERR_ERASED',
    });
    const rows = await dataSource.query<{ total: unknown }[]>(String(sql));
    expect(rows.reduce((sum, { total }) => sum + Number(total), 0)).toBe(2);
    expect(await dataSource.query(String(report.scopes.sql))).toHaveLength(2);
    expect(report.scopes.counts).toHaveLength(2);
    expect(JSON.stringify(report)).not.toMatch(/canary|"bob"/);
  });

  it('reads in one transaction that cannot write, on the only connection of a pool, and counts its samples as reads', async () => {
    const { dataSource, statements } = await open({ accessLog: {} }, { poolSize: 1 });
    await fieldEncryption(dataSource).accessLog.flush();
    statements.clear();

    const report = await runAs({ id: 'auditor' }, () =>
      fieldEncryption(dataSource).report({ samples: 2 }),
    );

    const sent = statements.statements.map(({ sql }) => sql);
    const [begin] = report.database.snapshot.slice(-1);
    const [from, to] = [sent.indexOf(String(begin)), sent.indexOf('ROLLBACK')];
    expect(from).toBeGreaterThanOrEqual(0);
    const inside = sent.slice(from + 1, to);
    expect(inside).toContain(report.keks[0]?.sql);
    // PostgreSQL is asked past TypeORM for all rows of a table.
    const counts = kind.type === 'postgres' ? [] : report.columns.map(({ sql }) => sql);
    expect(inside).toEqual(expect.arrayContaining(counts));
    expect(sent.filter((sql) => /^\s*(INSERT|UPDATE|DELETE)/i.test(sql))).toEqual([]);
    await fieldEncryption(dataSource).accessLog.flush();
    const { entries } = await fieldEncryption(dataSource).accessLog.list({ actor: 'auditor' });
    expect(entries.map(({ property, values }) => [property, values]).sort()).toEqual([
      ['email', 2],
      ['scan', 2],
      ['text', 2],
    ]);
  });

  const onServers = kind.dialect === 'sqlite' ? () => undefined : it;
  onServers('needs no right but to read, and says what it may not', async () => {
    const database = await open();
    const { dataSource } = database;
    await dataSource.query('CREATE TABLE hidden AS SELECT * FROM letter');
    const own = ['data_keys', 'field_encryption_audit', 'field_encryption_approvals'];
    const tables = ['patient', 'letter', ...own];
    const grants = tables.map((table) => `GRANT SELECT ON ${qualified(dataSource, table)}`);
    const role = await DatabaseRole.create(dataSource, grants);
    opened.push(() => role.drop());
    const reader = await reopen(database, {}, role.options);

    const report = await fieldEncryption(reader).report();

    expect(report.columns).toMatchObject([{ rows: 3 }, { rows: 3 }, { rows: 2 }]);
    expect(report.audit.ok).toBe(true);
    // MySQL does not show a table to those who may not read it.
    const hidden = report.notChecked.filter(({ subject }) => subject.includes('hidden'));
    expect(hidden).toHaveLength(kind.type === 'postgres' ? 1 : 0);
  });

  it('writes to its folder alone, and nothing where a file cannot be replaced', async () => {
    const { dataSource } = await open();
    const encryption = fieldEncryption(dataSource);
    const folder = mkdtempSync(join(tmpdir(), 'field-encryption-report-'));
    opened.push(() => {
      rmSync(folder, { recursive: true });
    });
    const [evidence, elsewhere] = [join(folder, 'evidence'), join(folder, 'elsewhere')];
    writeFileSync(elsewhere, 'kept');
    mkdirSync(evidence);
    symlinkSync(elsewhere, join(evidence, 'report.json.part'));
    await encryption.writeEvidence(evidence, { formats: ['json'] });
    expect(readFileSync(elsewhere, 'utf8')).toBe('kept');
    expect(readdirSync(evidence).sort()).toEqual(['report.json', 'report.note']);

    mkdirSync(join(evidence, 'report.html'));
    const wrong = [
      encryption.writeEvidence(evidence),
      encryption.writeEvidence(''),
      encryption.writeEvidence(evidence, { formats: [] }),
    ];
    for (const result of await Promise.allSettled(wrong)) {
      expect(result).toMatchObject({ reason: { code: 'ERR_CONFIGURATION' } });
    }
    expect(readdirSync(evidence).sort()).toEqual(['report.html', 'report.json', 'report.note']);
  });

  it('applies rules of the user, and refuses one that takes the id of another', async () => {
    const { dataSource } = await open();
    const rule: Rule = {
      id: 'ward-encrypted',
      title: 'The ward is encrypted',
      severity: 'low',
      controls: ['our policy 7'],
      shows: 'It is among the encrypted columns.',
      doesNotShow: 'Anything else.',
      check: ({ unencrypted }) =>
        unencrypted
          .filter(({ property }) => property === 'ward')
          .map(({ entity }) => ({
            subject: `${entity}.ward`,
            message: 'Open.',
            remedy: 'Encrypt.',
          })),
    };
    const encryption = fieldEncryption(dataSource);
    const { violations, rules } = await encryption.report({ rules: [rule], samples: 0 });
    expect(violations).toContainEqual({
      ...{ rule: 'ward-encrypted', severity: 'low', controls: ['our policy 7'] },
      ...{ subject: 'Patient.ward', message: 'Open.', remedy: 'Encrypt.' },
    });
    expect(rules.at(-1)).toMatchObject({ id: 'ward-encrypted', findings: 1 });
    await expect(
      encryption.report({ rules: [{ ...rule, id: 'audit-off' }] }),
    ).rejects.toMatchObject({ code: 'ERR_CONFIGURATION' });
    const wrong: Partial<Rule>[] = [
      { check: () => JSON.parse('no JSON') as [] },
      { check: (() => undefined) as never },
      { check: () => [{ subject: 'ward' } as never] },
      { severity: 'severe' as never },
      { shows: undefined as never },
    ];
    for (const part of wrong) {
      await expect(encryption.report({ rules: [{ ...rule, ...part }] })).rejects.toMatchObject({
        code: 'ERR_CONFIGURATION',
        message: expect.stringContaining('"ward-encrypted"'),
      });
    }
    await expect(encryption.report({ samples: -1 })).rejects.toMatchObject({
      code: 'ERR_CONFIGURATION',
    });
  });
});
