import { Column, Entity, PrimaryColumn, PrimaryGeneratedColumn, VersionColumn } from 'typeorm';
import type { DataSource } from 'typeorm';
import {
  BlindIndex,
  ConfigurationError,
  Encrypted,
  fieldEncryption,
  KeyStateError,
  PlaintextFoundError,
  RunPlanError,
  UnsupportedQueryError,
} from '../../src';
import type { FieldEncryptionOptions } from '../../src';
import { describeDiagonal } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { Cleanup, protect, rejection } from '../support/protected-database';
import { rawRows, storedPlaintexts, tableName } from '../support/stored-rows';
import { bytesOf, sqlOf } from '../support/sql-of';

@Entity()
class Person {
  @PrimaryGeneratedColumn() id!: number;
  @Encrypted({ check: false }) @BlindIndex({ unique: true }) email!: string;
  @Encrypted({ check: false, type: 'number', nullable: true }) age!: number | null;
  @Encrypted({ check: false, type: 'bytes', storage: 'binary', nullable: true })
  photo!: Buffer | null;
  @Column({ default: 'active' }) status!: string;
  @VersionColumn() version!: number;
}

/** The same table after its index was changed. */
@Entity('person')
class RelaxedPerson {
  @PrimaryGeneratedColumn() id!: number;
  @Encrypted({ check: false, id: 'Person.email' })
  @BlindIndex({ unique: true, normalize: 'case-insensitive' })
  email!: string;
}

@Entity()
class ByUuid {
  @PrimaryGeneratedColumn('uuid') id!: string;
  @Encrypted({ check: false }) text!: string;
}

@Entity()
class ByBigint {
  @PrimaryColumn('bigint') id!: string;
  @Encrypted({ check: false }) text!: string;
}

@Entity()
class ByText {
  @PrimaryColumn() area!: string;
  @PrimaryColumn() name!: string;
  @Encrypted({ check: false }) text!: string;
}

@Entity()
class Note {
  @PrimaryColumn() id!: string;
  @Encrypted({ check: false, nullable: true }) title!: string | null;
  @Encrypted({ check: false, nullable: true }) body!: string | null;
}

@Entity()
class ByCharacters {
  @PrimaryColumn({ type: 'char', length: 26 }) id!: string;
  @Encrypted({ check: false }) text!: string;
}

@Entity()
class ByBytes {
  @PrimaryColumn('bytea') id!: Buffer;
  @Encrypted({ check: false }) text!: string;
}

type Refusal = [Promise<unknown>, new (...args: never[]) => Error, string];

type Row = Record<'title' | 'body', string | null>;

const isText = (text: string | null): text is string => text !== null;

const LEGACY = { legacyPlaintext: ['Person.email', 'Person.age', 'Person.photo'] };

describeDiagonal('a run over the rows', (kind) => {
  const cleanup = new Cleanup();
  let database: TestDatabase;
  let dataSource: DataSource;

  beforeEach(async () => {
    database = await cleanup.create(kind, {
      entities: [Person, ByUuid, ByBigint, ByText, Note],
      synchronize: true,
    });
    dataSource = await open({}, {});
  });
  afterEach(() => cleanup.run());

  async function open(
    options: Partial<FieldEncryptionOptions> = {},
    overrides: Parameters<typeof protect>[2] = { synchronize: false },
  ): Promise<DataSource> {
    const opened = cleanup.add(protect(database, options, overrides));
    return opened.initialize();
  }

  const handle = () => fieldEncryption(dataSource);
  const people = (of = dataSource) => of.getRepository(Person);
  const table = () => tableName(dataSource.getMetadata(Person));

  /** Rows as an application without encryption would have left them. */
  async function insertCleartext(emails: readonly string[]): Promise<void> {
    for (const [i, email] of emails.entries()) {
      const photo = bytesOf(kind, Buffer.of(0xff, 0));
      await dataSource.query(
        `INSERT INTO ${table()} (email, age, photo, status, version) ` +
          `VALUES ('${email}', '${String(i)}.5', ${i % 2 === 0 ? photo : 'NULL'}, 'active', 7)`,
      );
    }
  }

  async function insertPeople(count: number): Promise<void> {
    await people().insert(
      Array.from({ length: count }, (_, i) => ({
        email: `p${String(i)}@x.org`,
        age: i,
        status: i % 2 === 0 ? 'active' : 'gone',
      })),
    );
  }

  it('encrypts a column in steps, while rows of both kinds read', async () => {
    // One begins like a ciphertext of ours.
    const lookalike = 'AQcHBwcHBwcHand more';
    const emails = ['a@x.org', lookalike, 'c@x.org', 'd@x.org', 'e@x.org', 'f@x.org'];
    await insertCleartext(emails);
    dataSource = await open(LEGACY);
    await people().insert({ email: 'new@x.org', age: 1, photo: null });

    const abort = new AbortController();
    const first = await handle().encrypt({
      entities: [Person],
      batchSize: 2,
      signal: abort.signal,
      onProgress: () => {
        abort.abort();
      },
    });
    expect(first).toMatchObject({ aborted: true, changed: 2, resumed: false, remaining: null });
    const read = await people().find({ order: { id: 'ASC' } });
    expect(read.map(({ email }) => email)).toEqual([...emails, 'new@x.org']);
    expect(read.map(({ age }) => age)).toEqual([0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 1]);
    // Only where cleartext may be read.
    const strict = await open();
    expect(await rejection(people(strict).find())).toBeInstanceOf(PlaintextFoundError);

    const second = await handle().encrypt({ entities: [Person], batchSize: 2 });
    expect(second).toMatchObject({ changed: 4, failed: 0, resumed: true, remaining: 0 });
    const plaintexts = await storedPlaintexts(strict, Person);
    expect(plaintexts.map(({ email }) => email)).toEqual([...emails, 'new@x.org']);
    expect(plaintexts[0]?.['photo']).toEqual(Buffer.from([255, 0]));
    expect((await rawRows(dataSource, Person)).slice(0, 6).map(({ version }) => version)).toEqual(
      emails.map(() => 7),
    );
    expect(await people(strict).findOneBy({ email: 'd@x.org' })).toMatchObject({ age: 3.5 });

    // And the way back.
    const back = await handle().decrypt({ entities: [Person], batchSize: 3 });
    expect(back).toMatchObject({ changed: 7, failed: 0, remaining: 0 });
    const [row] = await rawRows(dataSource, Person);
    expect(row).toMatchObject({ email: 'a@x.org', age: '0.5', email_bidx: null, version: 7 });
    expect(Buffer.from(row?.['photo'] as Uint8Array)).toEqual(Buffer.from([255, 0]));
  });

  it('walks primary keys of every kind', async () => {
    await dataSource.getRepository(ByUuid).insert(Array.from({ length: 7 }, () => ({ text: 'u' })));
    // Beyond what a number of JavaScript can tell apart.
    const big = Array.from({ length: 7 }, (_, i) => String(2n ** 62n + BigInt(i)));
    await dataSource.getRepository(ByBigint).insert(big.map((id) => ({ id, text: id })));
    const names = ['a,b', '{"q"}', 'NULL', '', "it's", 'back\\slash', 'ümlaut'];
    await dataSource
      .getRepository(ByText)
      .insert(names.flatMap((name) => ['', 'x'].map((area) => ({ area, name, text: name }))));
    const old = (await handle().keys.list())[0];
    await handle().keys.rotate();
    expect(await handle().reencrypt({ batchSize: 2 })).toMatchObject({
      scanned: 28,
      changed: 28,
      failed: 0,
      conflicts: 0,
      remaining: 0,
    });
    const texts = await dataSource.getRepository(ByText).find();
    expect(texts.every(({ name, text }) => name === text)).toBe(true);
    expect(await handle().keys.destroy(String(old?.id), { graceMs: 0 })).toMatchObject({
      key: { id: old?.id },
    });
  });

  it.each([
    ['nothing', [null, 'a'], [null, 'b'], ['c', null], [null, null]],
    ['empty text', [null, ''], ['', null], ['', '']],
    ['characters that separate units', ['\u001f', 'a'], ['\u001f', '\u001f'], ['b', null]],
    ['characters that separate records', ['\u001e', 'a\u001eb'], ['\u001e\u001e', null], ['c', '']],
    ['every alphabet', ['ümlaut', '\u{1f512} ключ'], ['a,b\n"c"\\', null]],
  ] as [string, ...[string | null, string | null][]][])(
    'takes rows that hold %s as they are, in columns and in keys',
    async (_, ...notes) => {
      const rows = notes.map(([title, body], i) => ({
        id: `${String(i)}${title ?? ''}`,
        title,
        body,
      }));
      for (const { id, title, body } of rows) {
        await dataSource.query(
          sqlOf(kind, 'INSERT INTO note (id, title, body) VALUES ($1, $2, $3)'),
          [id, title, body],
        );
      }
      const texts = notes.flat().filter(isText);
      const rowsWithText = notes.filter((note) => note.some((text) => text !== null));

      dataSource = await open({ legacyPlaintext: ['Note.title', 'Note.body'] });
      const options = { entities: [Note] };
      const done = { changed: rowsWithText.length, failed: 0, conflicts: 0, remaining: 0 };
      expect(await handle().encrypt(options)).toMatchObject(done);
      await handle().keys.rotate();
      expect(await handle().reencrypt(options)).toMatchObject(done);
      const strict = await open();
      expect(await strict.getRepository(Note).find({ order: { id: 'ASC' } })).toEqual(
        [...rows].sort((a, b) => (a.id < b.id ? -1 : 1)),
      );
      expect(await handle().verify(options)).toMatchObject({ scanned: notes.length, failed: 0 });

      expect(await handle().decrypt(options)).toMatchObject(done);
      const back = await dataSource.query<Row[]>('SELECT title, body FROM note ORDER BY id');
      expect(
        back
          .flatMap(({ title, body }) => [title, body])
          .filter(isText)
          .sort(),
      ).toEqual([...texts].sort());
    },
  );

  // For MySQL, run-keys tries all types of keys; SQLite does not hold values to their types.
  if (kind.type === 'postgres') {
    it('walks keys of fixed length and of bytes, also without a count to end by', async () => {
      const entities = [ByCharacters, ByBytes];
      dataSource = await open({}, { entities, synchronize: true });
      const numbers = Array.from({ length: 7 }, (_, i) => i);
      await dataSource
        .getRepository(ByCharacters)
        .insert(numbers.map((i) => ({ id: `01J${String(i).padStart(23, '0')}`, text: String(i) })));
      await dataSource
        .getRepository(ByBytes)
        .insert(numbers.map((i) => ({ id: Buffer.from([92, 0, i]), text: String(i) })));
      await handle().keys.rotate();
      const all = { scanned: 14, failed: 0 };
      expect(await handle().verify({ batchSize: 2 })).toMatchObject(all);
      expect(await handle().reencrypt({ batchSize: 2 })).toMatchObject({
        ...all,
        changed: 14,
        conflicts: 0,
        remaining: 0,
      });
    });
  }

  it('skips rows that are deleted meanwhile, and finds those that arrive behind the cursor', async () => {
    const texts = dataSource.getRepository(ByText);
    const row = (name: string) => ({ area: 'b', name, text: name });
    await texts.insert(['1', '2', '3', '4', '5', '6'].map(row));
    const before = await rawRows(dataSource, ByText);
    await handle().keys.rotate();
    let pages = 0;
    const report = await handle().reencrypt({
      entities: [ByText],
      batchSize: 2,
      pauseWhile: async () => {
        pages += 1;
        if (pages === 1) await texts.delete({ name: '2' });
        // A process that has not seen the rotation yet would write this, before all others in order.
        const late = `INSERT INTO by_text SELECT 'a', name, text FROM by_text WHERE name = '6'`;
        if (pages === 2) await dataSource.query(late);
        return false;
      },
    });
    expect(before).toHaveLength(6);
    expect(report).toMatchObject({ changed: 6, failed: 0, conflicts: 0, remaining: 0 });
    const after = await texts.find({ order: { area: 'ASC', name: 'ASC' } });
    expect(after.map(({ area, text }) => area + text)).toEqual([
      'a6',
      'b1',
      'b3',
      'b4',
      'b5',
      'b6',
    ]);
  });

  it('gives rows the tokens of a changed index, and names both rows that collide', async () => {
    for (const email of ['Ada@x.org', 'bob@x.org', 'ADA@x.org', 'Cyd@x.org']) {
      await people().insert({ email, age: null });
    }
    const stored = (await rawRows(dataSource, Person)).map(({ email }) => email);
    dataSource = await open({}, { synchronize: false, entities: [RelaxedPerson] });
    const report = await handle().reindex({ batchSize: 10 });
    expect(report).toMatchObject({
      changed: 3,
      failed: 1,
      failures: [{ property: 'email', code: 'DUPLICATE_TOKEN' }],
    });
    const [{ primaryKey, conflictsWith }] = report.failures as [(typeof report.failures)[0]];
    expect([...primaryKey, ...(conflictsWith ?? [])].sort()).toEqual([1, 3]);
    expect((await rawRows(dataSource, RelaxedPerson)).map(({ email }) => email)).toEqual(stored);
    const relaxed = dataSource.getRepository(RelaxedPerson);
    expect(await relaxed.findOneBy({ email: 'cyd@X.ORG' })).toMatchObject({ id: 4 });
    expect(await handle().reindex()).toMatchObject({ changed: 0, failed: 1 });
  });

  it('verifies rows and tokens, and changes nothing', async () => {
    await insertPeople(5);
    await dataSource.query(`UPDATE ${table()} SET email_bidx = 'stale' WHERE id = 2`);
    await dataSource.query(`UPDATE ${table()} SET age = email WHERE id = 4`);
    const before = await rawRows(dataSource, Person);
    expect(await handle().verify({ entities: [Person], batchSize: 2 })).toMatchObject({
      scanned: 5,
      changed: 0,
      failed: 2,
      failures: [
        { entity: 'Person', property: 'email', primaryKey: [2], code: 'STALE_TOKEN' },
        { entity: 'Person', property: 'age', primaryKey: [4], code: 'ERR_DECRYPTION' },
      ],
    });
    expect(await rawRows(dataSource, Person)).toEqual(before);
    expect(await dataSource.query('SELECT * FROM field_encryption_runs')).toEqual([]);
  });

  it('does first what comes first, waits while it is told to, and plans before', async () => {
    await insertPeople(8);
    const key = await handle().keys.rotate();
    const plan = await handle().reencrypt({ entities: [Person], dryRun: true });
    expect(plan).toMatchObject({ scanned: 8, changed: 8 });
    expect(plan.plan?.tables).toMatchObject([
      {
        entity: 'Person',
        rows: 8,
        pending: 8,
        columns: [
          { property: 'email', keys: [{ version: 1, rows: 8 }] },
          { property: 'age', keys: [{ version: 1, rows: 8 }] },
          { property: 'photo', nullRows: 8, keys: [] },
        ],
      },
    ]);

    let asked = 0;
    const abort = new AbortController();
    await handle().reencrypt({
      entities: [Person],
      batchSize: 4,
      maxRate: 1_000_000,
      first: { Person: "status = 'gone'" },
      pauseWhile: () => ++asked < 3,
      signal: abort.signal,
      onProgress: () => {
        abort.abort();
      },
    });
    expect(asked).toBe(3);
    const moved = (await rawRows(dataSource, Person)).filter(
      ({ email }) => String(email).slice(0, 12) === storedPrefix(key.id),
    );
    expect(moved.map(({ status }) => status)).toEqual(['gone', 'gone', 'gone', 'gone']);
  });

  it('refuses what cannot be done, before it touches a row', async () => {
    await insertPeople(2);
    const [old] = await handle().keys.list();
    await handle().keys.rotate();
    const before = await rawRows(dataSource, Person);
    const refusals: Refusal[] = [
      [handle().reencrypt({ columns: ['Person.status'] }), RunPlanError, 'Person.status'],
      [handle().encrypt(), RunPlanError, 'legacyPlaintext'],
      [
        handle().decrypt(),
        RunPlanError,
        'list it in `legacyPlaintext`. None of these is one: Person',
      ],
      [handle().decrypt({ columns: ['Person.email'] }), RunPlanError, 'Person.email'],
      [handle().reindex({ columns: ['Person.age'] }), RunPlanError, 'blind index'],
      [handle().reencrypt({ targetKey: String(old?.id) }), KeyStateError, 'not an active one'],
      [handle().reencrypt({ first: { Nobody: 'true' } }), RunPlanError, 'Nobody'],
      [handle().reencrypt({ first: { Person: 'nosuch = 1' } }), RunPlanError, 'nosuch'],
      [
        handle().reencrypt({ first: { Person: "email = 'x'" } }),
        UnsupportedQueryError,
        'Person.email',
      ],
      [handle().reencrypt({ batchSize: 0 }), RunPlanError, 'batchSize'],
      ...(kind.type === 'postgres'
        ? []
        : ([
            [handle().reencrypt({ maxReplicaLagMs: 1000 }), RunPlanError, 'PostgreSQL'],
          ] as Refusal[])),
      [handle().reencrypt({ speed: 9 } as never), RunPlanError, 'speed'],
    ];
    for (const [refused, type, named] of refusals) {
      const error = await rejection(refused);
      expect(error).toBeInstanceOf(type);
      expect(error.message).toContain(named);
    }
    expect(await rawRows(dataSource, Person)).toEqual(before);

    // An unfinished run, whose table is another one when it is taken up.
    const abort = new AbortController();
    const options = { entities: [Person], batchSize: 1, signal: abort.signal };
    await handle().reencrypt({ ...options, onProgress: () => abort.abort() });
    await dataSource.query(
      `UPDATE field_encryption_runs SET structure = 'of before' WHERE state = 'running'`,
    );
    const changed = await rejection(handle().reencrypt({ entities: [Person] }));
    expect(changed).toBeInstanceOf(RunPlanError);
    expect(changed.message).toContain('--restart');
    expect(await handle().reencrypt({ entities: [Person], restart: true })).toMatchObject({
      resumed: false,
      remaining: 0,
    });

    await handle().keys.rotate();
    await dataSource.query('DROP TABLE field_encryption_ranges');
    const missing = await rejection(handle().reencrypt());
    expect(missing).toBeInstanceOf(ConfigurationError);
    expect(missing.message).toContain('field-encryption init');
    await dataSource.query(`ALTER TABLE ${table()} DROP COLUMN age`);
    expect((await rejection(handle().reencrypt())).message).toContain('has no column age');
  });
});

/** The 12 characters with which ciphertexts under a key begin. */
function storedPrefix(keyId: string): string {
  return Buffer.from(`01${keyId}`, 'hex').toString('base64url');
}
