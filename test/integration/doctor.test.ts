import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Column, DataSource, Entity, PrimaryColumn, PrimaryGeneratedColumn } from 'typeorm';
import type { DataSourceOptions } from 'typeorm';
import { BlindIndex, Encrypted, fieldEncryption, fileAnchor, withFieldEncryption } from '../../src';
import type { FieldEncryptionOptions, Finding, FindingCode, KmsProvider } from '../../src';
import { describeDiagonal } from '../support/databases';
import type { DatabaseKind } from '../support/databases';
import { openEncrypted, temporaryKms } from '../support/encrypted-database';
import type { EncryptedDatabase, OpenOptions } from '../support/encrypted-database';
import { fastLocalKms } from '../support/key-fixtures';
import { DatabaseRole } from '../support/database-role';
import { dropIndex, quoted, sqlOf } from '../support/sql-of';

const PASSPHRASE = 'canary canary';
const DAY_MS = 86_400_000;

@Entity()
class Patient {
  @PrimaryGeneratedColumn()
  id!: number;

  @Column({ default: 'active' })
  status!: string;

  @Encrypted({ check: true })
  @BlindIndex({ normalize: 'email', unique: true })
  email!: string;

  @Encrypted({ type: 'string', nullable: true, check: true })
  @BlindIndex()
  ssn!: string | null;

  @Encrypted({ type: 'bytes', storage: 'binary', nullable: true, check: true })
  seal!: Buffer | null;
}

@Entity()
class Member {
  @PrimaryGeneratedColumn()
  id!: number;

  @Column()
  tenant!: string;

  @Encrypted({ check: true })
  @BlindIndex({ normalize: 'email', uniqueWith: ['tenant'] })
  email!: string;
}

@Entity()
class Letter {
  @PrimaryColumn()
  id!: number;

  @Encrypted({ check: false })
  text!: string;
}

const kek = temporaryKms();
const CONFIGURED = { kms: kek.kms, application: 'clinic' };
afterAll(kek.dispose);

/** A KMS that can be switched off. */
function switchedKms(): { kms: KmsProvider; down: boolean; dispose: () => void } {
  const { kms, dispose } = temporaryKms();
  const switched = {
    down: false,
    dispose,
    kms: {
      name: kms.name,
      wrapKey: (...args: Parameters<KmsProvider['wrapKey']>) => use(() => kms.wrapKey(...args)),
      unwrapKey: (...args: Parameters<KmsProvider['unwrapKey']>) =>
        use(() => kms.unwrapKey(...args)),
      health: () => kms.health().then((health) => ({ ...health, ok: !switched.down })),
    },
  };
  function use<T>(work: () => Promise<T>): Promise<T> {
    return switched.down ? Promise.reject(new Error('down')) : work();
  }
  return switched;
}

describeDiagonal('The doctor', (kind: DatabaseKind) => {
  const isPostgres = kind.type === 'postgres';
  const isSqlite = kind.dialect === 'sqlite';
  const onPostgres = isPostgres ? it : () => undefined;
  /** SQLite has no roles. */
  const onServers = isSqlite ? () => undefined : it;
  const disposals: (() => unknown)[] = [];
  /** For what changes nothing in the database. */
  let sound: EncryptedDatabase;

  beforeAll(async () => {
    sound = await openEncrypted(kind, { entities: [Patient] }, CONFIGURED);
  });
  afterAll(() => sound.dispose());
  afterEach(async () => {
    for (const dispose of disposals.splice(0).reverse()) await dispose();
  });

  async function open(
    encryption: Partial<FieldEncryptionOptions> = {},
    options: OpenOptions = {},
  ): Promise<EncryptedDatabase> {
    const opened = await openEncrypted(
      kind,
      { entities: [Patient], ...options },
      { ...CONFIGURED, ...encryption },
    );
    disposals.push(() => opened.dispose());
    return opened;
  }

  /** A DataSource on the same database, as another process would have it. */
  function another(options: DataSourceOptions, kms: KmsProvider = kek.kms): DataSource {
    const other = withFieldEncryption(new DataSource({ ...options, synchronize: false }), {
      ...CONFIGURED,
      kms,
    });
    disposals.push(() => (other.isInitialized ? other.destroy() : undefined));
    return other;
  }

  /** What a role of the database with these rights only would see. */
  async function asRole({ dataSource }: EncryptedDatabase, grants: string[]): Promise<DataSource> {
    const role = await DatabaseRole.create(dataSource, grants);
    disposals.push(() => role.drop());
    return another(role.options).initialize();
  }

  async function examined(dataSource: DataSource): Promise<Finding[]> {
    return fieldEncryption(dataSource).doctor();
  }

  async function codes(dataSource: DataSource, ...levels: string[]): Promise<FindingCode[]> {
    const wanted = levels.length === 0 ? ['error', 'warning'] : levels;
    const findings = await examined(dataSource);
    return findings.filter(({ level }) => wanted.includes(level)).map(({ code }) => code);
  }

  /** Statements on the schema, with names as the database escapes them. */
  async function alter({ dataSource }: EncryptedDatabase, ...statements: string[]): Promise<void> {
    for (const statement of statements) await dataSource.query(statement);
  }

  it('finds nothing wrong where nothing is, and says what it works with', async () => {
    const findings = await examined(sound.dataSource);
    expect(findings.filter(({ level }) => level !== 'info')).toEqual([]);
    expect(findings.map(({ code }) => code)).toEqual(
      expect.arrayContaining(['KMS', 'NODE', 'BACKEND', 'PACKAGES', 'FIPS_OFF']),
    );
    expect(findings.find(({ code }) => code === 'PACKAGES')?.message).toMatch(
      /typeorm \d.*(pg|sqlite3|mysql2) \d/,
    );
  });

  it('leaves the database as it is: no key is made, no entry written', async () => {
    const { dataSource, statements } = sound;
    statements.clear();
    expect(await codes(dataSource)).toEqual([]);
    expect(statements.of('SELECT').length).toBeGreaterThan(0);
    expect(statements.writes()).toEqual([]);
  });

  it('names what the configuration leaves open', async () => {
    const { dataSource } = await open(
      { application: undefined as never, audit: false, legacyPlaintext: ['Patient.ssn'] },
      { logging: ['query'] },
    );
    expect(await codes(dataSource, 'warning', 'info')).toEqual(
      expect.arrayContaining([
        'APPLICATION_NOT_SET',
        'AUDIT_OFF',
        'LOGGER_PRINTS_PARAMETERS',
        'CONVERSION_UNDER_WAY',
        'LOGGER_CUSTOM',
      ]),
    );
  });

  it('says where the anchor cannot be read or written, or is none, and leaves it as it is', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'field-encryption-anchor-'));
    disposals.push(() => {
      rmSync(folder, { recursive: true, force: true });
    });
    const file = join(folder, 'anchor');
    const { dataSource } = await open({ anchor: fileAnchor(file) });
    const text = readFileSync(file, 'utf8');
    expect(await codes(dataSource)).not.toContain('ANCHOR_UNREADABLE');
    expect(readFileSync(file, 'utf8')).toBe(text);
    expect(readdirSync(folder)).toEqual(['anchor']);

    for (const damage of [
      () => {
        writeFileSync(file, 'nonsense');
      },
      () => {
        rmSync(file);
        mkdirSync(file);
      },
      () => {
        rmSync(folder, { recursive: true });
      },
    ]) {
      damage();
      expect(await codes(dataSource, 'error')).toContain('ANCHOR_UNREADABLE');
    }
  });

  it('says no more of an anchor that fails than its code', async () => {
    const { dataSource } = await open({
      anchor: {
        read: () =>
          Promise.reject(Object.assign(new Error('canary'), { code: 'AccessDeniedException' })),
        write: () => Promise.resolve(),
      },
    });
    const findings = await examined(dataSource);
    expect(findings.find(({ code }) => code === 'ANCHOR_UNREADABLE')?.message).toContain(
      'AccessDeniedException',
    );
    expect(JSON.stringify(findings)).not.toContain('canary');
  });

  it('reports a KMS that is down, and the keys that do not open without it', async () => {
    const switched = switchedKms();
    disposals.push(switched.dispose);
    const opened = await open({ kms: switched.kms });
    switched.down = true;
    const other = await another(opened.dataSource.options, switched.kms).initialize();
    expect(await codes(other)).toEqual(expect.arrayContaining(['KMS_UNHEALTHY', 'KEY_UNUSABLE']));
  });

  it('reports keys that another passphrase has wrapped, and a weak one, without showing it', async () => {
    const opened = await open({ kms: fastLocalKms('what the keys were made under, 1984') });
    const other = await another(opened.dataSource.options, fastLocalKms(PASSPHRASE)).initialize();
    const findings = await examined(other);
    expect(findings.map(({ code }) => code)).toEqual(
      expect.arrayContaining(['KEY_UNUSABLE', 'PASSPHRASE_WEAK', 'PASSPHRASE_KEK']),
    );
    expect(JSON.stringify(findings)).not.toContain(PASSPHRASE);
  });

  it('reports keys of a provider that the process does not have', async () => {
    const { kms, dispose } = switchedKms();
    disposals.push(dispose);
    const elsewhere = Object.assign(kms, { name: 'elsewhere' });
    const other = await another(sound.dataSource.options, elsewhere).initialize();
    expect(await codes(other)).toContain('KEY_WITHOUT_PROVIDER');
  });

  it('reports tables that are missing, and keys that nobody has made', async () => {
    const { dataSource } = await open({}, { synchronize: false });
    const found = await examined(dataSource);
    expect(found.filter(({ code }) => code === 'OWN_TABLE_MISSING')).toHaveLength(5);
    expect(found.filter(({ code }) => code === 'TABLE_MISSING')).toHaveLength(1);
    expect(found.map(({ code }) => code)).not.toContain('CHECK_FAILED');
  });

  it('reports a key that is suspended, and a rotation that is overdue', async () => {
    const clock = { now: new Date('2030-01-01') };
    const { dataSource } = await open({
      now: () => clock.now,
      keyPolicies: { '*': { rotation: { kind: 'periodic', everyDays: 30 } } },
    });
    const { keys } = fieldEncryption(dataSource);
    const [key] = await keys.list();
    clock.now = new Date(clock.now.getTime() + 40 * DAY_MS);
    expect(await codes(dataSource)).toEqual(['POLICY_OVERDUE']);
    await keys.suspend(key!.id);
    expect(await codes(dataSource)).toContain('KEY_SUSPENDED');
  });

  it('reports a missing index, and one that does not keep values unique', async () => {
    const opened = await open();
    const { dataSource } = opened;
    const indexes = dataSource.getMetadata(Patient).indices;
    const named = (column: string): string =>
      indexes.find(({ columns }) => columns[0]?.databaseName === column)!.name;
    await alter(opened, dropIndex(kind, named('ssn_bidx'), 'patient'));
    expect(await codes(dataSource)).toEqual(['INDEX_MISSING']);
    await alter(
      opened,
      dropIndex(kind, named('email_bidx'), 'patient'),
      'CREATE INDEX plain_index ON patient (email_bidx)',
      'CREATE INDEX ssn_index ON patient (ssn_bidx)',
    );
    expect(await codes(dataSource)).toEqual(['INDEX_NOT_UNIQUE']);
  });

  it('asks of a tuple that is unique for an index over exactly its columns', async () => {
    const { dataSource } = await open({}, { entities: [Member] });
    await fieldEncryption(dataSource).ready();
    expect(await codes(dataSource)).toEqual([]);

    const [index] = dataSource.getMetadata(Member).indices;
    const columns = index?.columns.map(({ databaseName }) => `"${databaseName}"`) ?? [];
    for (const over of [columns.slice(0, 1), [...columns, '"id"']]) {
      await dataSource.query(dropIndex(kind, index?.name ?? '', 'member'));
      await dataSource.query(
        sqlOf(kind, `CREATE UNIQUE INDEX "${index?.name ?? ''}" ON member (${over.join(', ')})`),
      );
      expect(await codes(dataSource)).toEqual(['INDEX_NOT_UNIQUE']);
    }
  });

  it('reports an index that a lookup does not use', async () => {
    const opened = await open();
    const { dataSource } = opened;
    const index = dataSource
      .getMetadata(Patient)
      .indices.find(({ columns }) => columns[0]?.databaseName === 'ssn_bidx')!;
    const name = quoted(kind, index.name);
    await alter(
      opened,
      ...(kind.dialect === 'mysql'
        ? [
            `ALTER TABLE patient ALTER INDEX ${name} ${kind.type === 'mysql' ? 'INVISIBLE' : 'IGNORED'}`,
          ]
        : [
            dropIndex(kind, index.name, 'patient'),
            "CREATE INDEX partial_index ON patient (ssn_bidx) WHERE status = 'active'",
          ]),
    );
    expect(await codes(dataSource)).toEqual(['INDEX_NOT_USED']);
  });

  it('reports columns whose collation takes different values for equal', async () => {
    const opened = await open({}, { synchronize: false });
    await opened.dataSource.synchronize();
    await alter(
      opened,
      ...{
        sqlite: [
          'ALTER TABLE patient RENAME COLUMN ssn_bidx TO old',
          'ALTER TABLE patient ADD COLUMN ssn_bidx varchar COLLATE NOCASE',
          'CREATE INDEX ssn_index ON patient (ssn_bidx)',
        ],
        postgres: [
          `CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false)`,
          'ALTER TABLE patient ALTER COLUMN ssn_bidx TYPE varchar COLLATE nocase',
        ],
        mysql: ['ALTER TABLE patient MODIFY ssn_bidx varchar(64) COLLATE utf8mb4_general_ci'],
      }[kind.dialect],
    );
    expect(await codes(opened.dataSource, 'error')).toEqual(['COLUMN_COLLATION']);
  });

  it('names for a missing column what adds it and loses no data', async () => {
    const opened = await open();
    await alter(
      opened,
      'ALTER TABLE patient RENAME COLUMN ssn TO old_ssn',
      'ALTER TABLE patient RENAME COLUMN ssn_bidx TO old_ssn_bidx',
    );
    const missing = (await examined(opened.dataSource)).filter(
      ({ code }) => code === 'COLUMN_MISSING',
    );
    expect(missing.map(({ message, remedy }) => [/\w+(?=\.$)/.exec(message)![0], remedy])).toEqual([
      ['ssn', expect.stringMatching(/migration:generate, and read it before it runs: it drops/)],
      ['ssn_bidx', expect.not.stringContaining('migration:generate')],
    ]);
    expect(missing[1]!.remedy).toContain('`field-encryption schema expand src/migrations/Expand`');
  });

  onPostgres('says what an operator may not do as what is right for one', async () => {
    const operator = await asRole(sound, [
      'GRANT SELECT ON ALL TABLES IN SCHEMA public',
      'GRANT INSERT, UPDATE ON data_keys',
      'GRANT INSERT ON field_encryption_audit',
    ]);
    const limits = (await examined(operator)).filter(({ code }) => code === 'RIGHTS_LIMITED');
    expect(limits).toMatchObject([
      {
        message: expect.stringMatching(/(?:may not|nor) run over the rows \([^;]*\)\.$/) as string,
        remedy: expect.stringContaining('right for a role that is not meant to') as string,
      },
    ]);
  });

  it('reports tables without the CHECK against cleartext', async () => {
    const opened = await open();
    const [check] = opened.dataSource.getMetadata(Patient).checks;
    await alter(
      opened,
      ...(isSqlite
        ? [
            'CREATE TABLE other AS SELECT * FROM patient',
            'DROP TABLE patient',
            'ALTER TABLE other RENAME TO patient',
          ]
        : [`ALTER TABLE patient DROP CONSTRAINT ${quoted(kind, check!.name)}`]),
    );
    const findings = await examined(opened.dataSource);
    const missing = findings.filter(({ code }) => code === 'CHECK_MISSING');
    expect(missing).toHaveLength(isSqlite ? 3 : 1);
    expect(missing[0]?.message).toMatch(/^Patient\.\w+:/);
  });

  it('reports rows in clear that legacyPlaintext does not announce', async () => {
    const opened = await open({}, { entities: [Letter] });
    await fieldEncryption(opened.dataSource).ready();
    await alter(opened, "INSERT INTO letter (id, text) VALUES (1, 'canary in clear')");
    const found = (await examined(opened.dataSource)).filter(
      ({ code }) => code === 'CLEARTEXT_FOUND',
    );
    expect(found).toEqual([expect.objectContaining({ level: 'error' })]);
    expect(found[0]?.message).toMatch(/^Letter\.text: /);
    expect(JSON.stringify(found)).not.toContain('canary');
  });

  it('reports that builders of the DataSource are not those of the library', async () => {
    const { dataSource } = sound;
    const own = dataSource.createQueryBuilder;
    disposals.push(() => (dataSource.createQueryBuilder = own));
    dataSource.createQueryBuilder = ((...args: Parameters<typeof own>) => {
      const builder = own.apply(dataSource, args);
      const where = builder.where.bind(builder);
      builder.where = (condition, ...rest) => {
        if (JSON.stringify(condition).includes('looks for')) {
          builder.getQueryAndParameters = () => ['SELECT', [condition]];
        }
        return where(condition, ...rest);
      };
      return builder;
    }) as typeof own;
    expect(await codes(dataSource)).toEqual(['LOOKUPS_NOT_ENCRYPTED']);
  });

  it('looks at no database before initialize()', async () => {
    expect(await codes(another(sound.dataSource.options))).toEqual(['NOT_INITIALIZED']);
  });

  onServers('reports columns that are missing, too short, or of another type', async () => {
    const opened = await open();
    await alter(
      opened,
      ...opened.dataSource
        .getMetadata(Patient)
        .checks.map(({ name }) => `ALTER TABLE patient DROP CONSTRAINT ${quoted(kind, name)}`),
      ...(isPostgres
        ? [
            'ALTER TABLE patient ALTER COLUMN email_bidx TYPE varchar(20)',
            'ALTER TABLE patient ALTER COLUMN email TYPE varchar(200)',
            'ALTER TABLE patient ALTER COLUMN seal TYPE text USING NULL',
          ]
        : [
            'ALTER TABLE patient MODIFY email_bidx varchar(20) COLLATE ascii_bin',
            'ALTER TABLE patient MODIFY email varchar(200) COLLATE utf8mb4_bin',
            'ALTER TABLE patient MODIFY seal text',
          ]),
      'ALTER TABLE patient DROP COLUMN ssn',
    );
    expect(await codes(opened.dataSource)).toEqual([
      'COLUMN_TOO_SHORT',
      'COLUMN_MISSING',
      'COLUMN_TYPE',
      'COLUMN_NARROW',
      ...['CHECK_MISSING', 'CHECK_MISSING', 'CHECK_MISSING'],
    ]);
  });

  /** The grant of a right on all tables. */
  function onAll(right: string): string {
    const { database } = sound.dataSource.driver;
    return `GRANT ${right} ON ${isPostgres ? 'ALL TABLES IN SCHEMA public' : `${String(database)}.*`}`;
  }

  onServers('needs no more than the right to read, and says what the role may not do', async () => {
    const other = await asRole(sound, [onAll('SELECT')]);
    expect(await codes(other)).toEqual([]);
    expect(await codes(other, 'info')).toContain('RIGHTS_LIMITED');
  });

  onServers('reports rights that are missing, by table', async () => {
    // Without any right, MySQL lets nobody connect to the database.
    const blind = await asRole(
      sound,
      isPostgres ? [] : ['GRANT INSERT ON field_encryption_access'],
    );
    const unseen = await codes(blind);
    expect(unseen).toEqual(expect.arrayContaining(['OWN_TABLE_UNREADABLE', 'TABLE_UNREADABLE']));
    expect(unseen).not.toContain('TABLE_MISSING');
    expect(unseen).not.toContain('OWN_TABLE_MISSING');
    const keysOnly = await asRole(sound, [
      ...(isPostgres
        ? [onAll('SELECT')]
        : ['patient', 'data_keys'].map((table) => `GRANT SELECT ON ${table}`)),
      'GRANT INSERT, UPDATE ON data_keys',
    ]);
    expect(await codes(keysOnly)).toEqual(['RIGHTS_INCOMPLETE']);
  });

  onServers('reports an audit log that the role may change', async () => {
    const other = await asRole(sound, [
      onAll('SELECT'),
      'GRANT INSERT, UPDATE ON field_encryption_audit',
    ]);
    expect(await codes(other, 'info')).toContain('AUDIT_LOG_CHANGEABLE');
  });

  // Where it is a setting of the whole server, that takes a server of its own.
  onPostgres('reports a server that logs parameters', async () => {
    const { dataSource } = await open();
    const [{ name }] = await dataSource.query<[{ name: string }]>(
      'SELECT current_database() AS name',
    );
    await dataSource.query(`ALTER DATABASE ${name} SET log_statement = 'mod'`);
    await dataSource.destroy();
    await dataSource.initialize();
    expect(await codes(dataSource)).toEqual(['SERVER_LOGS_STATEMENTS']);
  });

  onServers('reports a database that does not answer any more', async () => {
    jest
      .spyOn(sound.dataSource.driver as never, 'obtainMasterConnection' as never)
      .mockRejectedValue(Object.assign(new Error('secret'), { code: 'ECONNREFUSED' }) as never);
    const findings = await examined(sound.dataSource);
    jest.restoreAllMocks();
    expect(findings[0]).toMatchObject({
      code: 'DATABASE_UNREACHABLE',
      message: 'The database does not answer: the database answered ECONNREFUSED.',
    });
  });
});
