import { IsEmail } from 'class-validator';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { inspect } from 'node:util';
import { Column, DataSource, Entity, In, Like, ManyToOne, PrimaryColumn } from 'typeorm';
import type { Logger } from 'typeorm';
import { BlindIndex, Encrypted, fieldEncryption, localKms, withFieldEncryption } from '../../src';
import type { KeyEvent, KmsProvider } from '../../src';
import { dialectOf } from '../../src/typeorm/dialect/dialect-of';
import { describeDiagonal } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { Cleanup } from '../support/protected-database';
import { sqlOf } from '../support/sql-of';

/** Different in every place, so that a find says which one leaked. */
const CANARIES = {
  email: 'canary.email.7f3a@example.org',
  text: 'canary-text-91c2-ünïcode',
  json: 'canary-json-55d1',
  bytes: 'canary-bytes-0b7e',
  binary: 'canary-binary-c44f',
  big: '77123456789012345678901',
  updated: 'canary-updated-3e3e',
  failed: 'canary-failed-write-a0a0',
  lookup: 'canary-lookup-b1b1',
  raw: 'canary-raw-query-c2c2',
  wrong: 'canary-wrong-type-d3d3',
  invalid: 'canary-not-an-email-e4e4',
  passphrase: 'canary passphrase f5f5',
} as const;
const KEY_FILE_BYTES = Buffer.from('canary-key-file-32-bytes-0123456', 'latin1');

@Entity()
class Person {
  @PrimaryColumn() id!: number;
  @Column() name!: string;
  @Encrypted() @BlindIndex({ normalize: 'email', unique: true }) @IsEmail() email!: string;
  @Encrypted({ type: 'string', nullable: true, check: false })
  @BlindIndex({ bits: 6 })
  text!: string | null;
  @Encrypted({ type: 'json', nullable: true }) json!: unknown;
  @Encrypted({ type: 'bytes', nullable: true }) bytes!: Buffer | null;
  @Encrypted({ type: 'string', storage: 'binary', nullable: true }) binary!: string | null;
  @Encrypted({ type: 'bigint', nullable: true }) @BlindIndex() big!: bigint | null;
  @ManyToOne(() => Person, { nullable: true }) parent!: Person | null;
}

class Capture implements Logger {
  readonly lines: string[] = [];

  #add(...parts: unknown[]): void {
    this.lines.push(parts.map((part) => everythingOf(part)).join(' '));
  }

  logQuery(query: string, parameters?: unknown[]): void {
    this.#add(query, parameters);
  }

  logQueryError(error: string | Error, query: string, parameters?: unknown[]): void {
    this.#add(error, query, parameters);
  }

  logQuerySlow(time: number, query: string, parameters?: unknown[]): void {
    this.#add(time, query, parameters);
  }

  logSchemaBuild(message: string): void {
    this.#add(message);
  }

  logMigration(message: string): void {
    this.#add(message);
  }

  log(_level: string, message: unknown): void {
    this.#add(message);
  }
}

describeDiagonal('No secret is anywhere', (kind) => {
  const cleanup = new Cleanup();
  const folder = mkdtempSync(join(tmpdir(), 'field-encryption-canary-'));
  const keyFile = join(folder, 'kek');
  writeFileSync(keyFile, KEY_FILE_BYTES, { mode: 0o600 });

  afterAll(async () => {
    await cleanup.run();
    rmSync(folder, { recursive: true, force: true });
  });

  const providers: readonly [string, () => KmsProvider][] = [
    ['a passphrase', () => localKms({ passphrase: CANARIES.passphrase })],
    ['a passphrase function', () => localKms({ passphrase: () => CANARIES.passphrase })],
    ['a key file', () => localKms({ keyFile })],
  ];

  it.each(providers)(
    'with %s',
    async (_what, createKms) => {
      const database = await cleanup.create(kind, { entities: [Person], synchronize: true });
      const logger = new Capture();
      const events: KeyEvent[] = [];
      const printed = capturePrinted();
      const kms = createKms();
      const options = {
        kms,
        validate: true,
        accessLog: {},
        guard: { reads: { values: 1 }, failures: { values: 1 } },
        legacyPlaintext: ['Person.json'],
        onEvent: (event: KeyEvent) => events.push(event),
      };
      const dataSource = cleanup.add(
        withFieldEncryption(
          new DataSource({
            ...database.dataSourceOptions,
            logging: 'all',
            logger,
            maxQueryExecutionTime: 0.0001,
            ...(kind.type === 'better-sqlite3' ? { enableWAL: true } : {}),
          } as never),
          options,
        ),
      );
      const errors: Error[] = [];
      await dataSource.initialize();
      await scenario(dataSource, database, errors);

      const handle = fieldEncryption(dataSource);
      const seen: Record<string, string> = {
        log: logger.lines.join('\n'),
        errors: errors.map(everythingOf).join('\n'),
        events: everythingOf(events),
        printed: printed(),
        dataSource: inspect(dataSource, {
          depth: 12,
          showHidden: true,
          maxArrayLength: null,
          maxStringLength: null,
        }),
        handle: everythingOf(handle),
        keys: everythingOf(handle.keys),
        kms: everythingOf(kms),
        // Their own object, which the library must not have added anything to.
        options: everythingOf(options),
        metadata: inspect(dataSource.getMetadata(Person), { depth: 4, showHidden: true }),
        list: everythingOf(await handle.keys.list()),
        status: everythingOf(await handle.status()),
      };
      expect(errors.length).toBeGreaterThan(15);
      expect(logger.lines.length).toBeGreaterThan(50);
      expect(leaksIn(seen)).toEqual([]);

      await fieldEncryption(dataSource).accessLog.flush();
      const stored = await dump(dataSource, database);
      expect(stored.includes('decrypt')).toBe(true);
      expect(stored.length).toBeGreaterThan(2000);
      expect(leaksInBytes(stored)).toEqual([]);
    },
    60_000,
  );

  it('is searched for in every form, so that the search itself is known to find', () => {
    const forms = formsOf(Buffer.from('canary-x')).map(([name]) => name);
    expect(forms).toEqual([
      'utf8',
      'base64',
      'base64url',
      'hex',
      'HEX',
      'utf16le',
      'utf16be',
      'bytes',
    ]);
    for (const encoding of ['utf8', 'base64', 'base64url', 'hex', 'utf16le'] as const) {
      const text = Buffer.concat([
        Buffer.from('..'),
        Buffer.from(CANARIES.text),
        Buffer.from('..'),
      ]);
      const planted =
        encoding === 'utf16le'
          ? Buffer.from(CANARIES.text, 'utf16le')
          : Buffer.from(text.toString(encoding));
      expect(leaksInBytes(planted)).not.toEqual([]);
    }
  });
});

/** Writes, failing writes, look-ups, refusals, rotation, re-encryption: whatever has a value in hand. */
async function scenario(
  dataSource: DataSource,
  database: TestDatabase,
  errors: Error[],
): Promise<void> {
  const people = dataSource.getRepository(Person);
  const handle = fieldEncryption(dataSource);
  const fails = async (work: () => unknown): Promise<void> => {
    try {
      await work();
    } catch (error) {
      errors.push(error as Error);
      return;
    }
    throw new Error(`was expected to fail: ${String(work)}`);
  };
  const person = (id: number, email: string = CANARIES.email) => ({
    id,
    name: 'Ada',
    email,
    text: CANARIES.text,
    json: { note: CANARIES.json },
    bytes: Buffer.from(CANARIES.bytes),
    binary: CANARIES.binary,
    big: BigInt(CANARIES.big),
  });

  await people.save(person(1));
  await people.insert(person(2, `2${CANARIES.email}`));
  await people.save({ ...person(3, `3${CANARIES.email}`), parent: { id: 1 } as Person });
  await people.update({ id: 2 }, { text: CANARIES.updated });
  await people.update({ email: `2${CANARIES.email}` }, { binary: CANARIES.updated });
  await people.upsert({ ...person(2, `2${CANARIES.email}`), text: CANARIES.updated }, ['id']);
  await people.find({ where: { parent: { email: CANARIES.email } }, relations: { parent: true } });
  await people.findBy({ text: In([CANARIES.text, CANARIES.lookup]), big: BigInt(CANARIES.big) });
  await people.createQueryBuilder('p').where({ email: CANARIES.email }).getMany();
  await handle.token(Person, 'email', CANARIES.email);
  await handle.decryptValue(
    Person,
    'text',
    await handle.encryptValue(Person, 'text', CANARIES.text),
  );

  await fails(() => people.insert({ ...person(4), text: CANARIES.failed }));
  await fails(() => people.save({ ...person(4), text: CANARIES.failed }));
  await fails(() => people.insert({ ...person(1, `x${CANARIES.email}`), text: CANARIES.failed }));
  await fails(() => people.insert({ ...person(5, `5${CANARIES.email}`), name: null as never }));
  await fails(() => people.update({ id: 2 }, { email: CANARIES.email }));
  await fails(() =>
    dataSource.transaction(async (manager) => {
      await manager.insert(Person, { ...person(6, `6${CANARIES.email}`), text: CANARIES.failed });
      throw new Error('rolled back by the application');
    }),
  );
  await fails(() => people.save({ ...person(7), email: CANARIES.invalid }));
  await fails(() => people.insert({ ...person(7), email: CANARIES.invalid }));
  await fails(() => people.update({ id: 1 }, { text: { wrong: CANARIES.wrong } as never }));
  await fails(() => people.update({ id: 1 }, { big: CANARIES.wrong as never }));
  await fails(() => people.update({ id: 1 }, { json: { a: 1n, b: CANARIES.wrong } }));
  await fails(() => people.update({ id: 1 }, { text: `${CANARIES.wrong}\ud800` }));
  await fails(() => people.findOneByOrFail({ email: `${CANARIES.lookup}@example.org` }));
  await fails(() => people.findOneOrFail({ where: { text: CANARIES.lookup, name: 'x' } }));
  await fails(() =>
    people.findOneOrFail({ where: [{ email: CANARIES.lookup }, { text: CANARIES.lookup }] }),
  );
  await fails(() => people.findOneOrFail({ where: { parent: { email: CANARIES.lookup } } }));
  await fails(() => people.findOneByOrFail({ text: In([CANARIES.lookup]) }));
  await fails(() =>
    people.createQueryBuilder('p').where({ email: CANARIES.lookup }).getOneOrFail(),
  );
  await fails(() => people.findBy({ text: Like(`%${CANARIES.lookup}%`) }));
  await fails(() => people.findBy({ json: CANARIES.lookup as never }));
  await fails(() => people.findBy({ big: CANARIES.lookup as never }));
  await fails(() => people.find({ order: { text: 'ASC' } }));
  await fails(() =>
    people.createQueryBuilder('p').where('p.text = :raw', { raw: CANARIES.raw }).getMany(),
  );
  await fails(() =>
    people
      .createQueryBuilder()
      .update()
      .set({ text: () => `'${CANARIES.raw}'` })
      .execute(),
  );
  await fails(() => handle.encryptValue(Person, 'big', CANARIES.wrong));
  await fails(() => handle.token(Person, 'big', CANARIES.wrong));
  await fails(() => handle.decryptValue(Person, 'text', CANARIES.wrong));

  await handle.keys.rotate();
  await handle.reencrypt({ batchSize: 2 });
  await people.find();
  await dataSource.query(`UPDATE person SET text = 'broken' WHERE id = 3`);
  await fails(() => people.find());
  await people.delete({ id: 3 });

  const wrong = withFieldEncryption(
    new DataSource({ ...database.dataSourceOptions, synchronize: false }),
    { kms: localKms({ passphrase: `${CANARIES.passphrase} wrong` }) },
  );
  await wrong.initialize();
  await fails(() => wrong.getRepository(Person).find());
  await fails(() => wrong.getRepository(Person).insert(person(9)));
  await wrong.destroy();
}

/** All that can be read of a value: message, stack, causes, hidden properties, JSON. */
function everythingOf(value: unknown): string {
  const parts: string[] = [
    inspect(value, { depth: 12, showHidden: true, maxArrayLength: null, maxStringLength: null }),
  ];
  try {
    parts.push(JSON.stringify(value));
  } catch {
    parts.push(String(value));
  }
  if (value instanceof Error) {
    parts.push(value.message, String(value.stack));
    parts.push(JSON.stringify(Object.getOwnPropertyDescriptors(value)));
    if (value.cause !== undefined) parts.push(everythingOf(value.cause));
  }
  return parts.join('\n');
}

function capturePrinted(): () => string {
  const printed: string[] = [];
  const spies = [process.stdout, process.stderr].map((stream) =>
    jest.spyOn(stream, 'write').mockImplementation((text) => {
      printed.push(String(text));
      return true;
    }),
  );
  const consoles = (['log', 'info', 'warn', 'error', 'debug'] as const).map((method) =>
    jest.spyOn(console, method).mockImplementation((...parts: unknown[]) => {
      printed.push(parts.map(everythingOf).join(' '));
    }),
  );
  return () => {
    for (const spy of [...spies, ...consoles]) spy.mockRestore();
    return printed.join('\n');
  };
}

/** The database files as they are, or every table in full. */
async function dump(dataSource: DataSource, { dataSourceOptions }: TestDatabase): Promise<Buffer> {
  if (dialectOf(dataSource).name === 'sqlite') {
    const folder = dirname((dataSourceOptions as { database: string }).database);
    return Buffer.concat(readdirSync(folder).map((file) => readFileSync(join(folder, file))));
  }
  const tables = await dataSource.query<{ schema: string; name: string }[]>(
    sqlOf(
      dataSource.options,
      `SELECT table_schema AS "schema", table_name AS name FROM information_schema.tables
       WHERE table_schema NOT IN ('pg_catalog', 'information_schema')`,
    ),
  );
  const parts: Buffer[] = [];
  for (const { schema, name } of tables) {
    const sql = sqlOf(dataSource.options, `SELECT * FROM "${schema}"."${name}"`);
    const rows = await dataSource.query<Record<string, unknown>[]>(sql);
    for (const cell of rows.flatMap((row) => Object.values(row))) {
      parts.push(Buffer.isBuffer(cell) ? cell : Buffer.from(String(cell)));
      parts.push(Buffer.from('\n'));
    }
  }
  return Buffer.concat(parts);
}

type Form = readonly [name: string, bytes: Buffer];

/** base64 of a text depends on where it begins: what is common to all three offsets is searched for. */
function formsOf(secret: Buffer): Form[] {
  const aligned = (encoding: 'base64' | 'base64url', offset: number): Buffer => {
    const text = Buffer.concat([Buffer.alloc(offset), secret]).toString(encoding);
    const from = Math.ceil((offset * 4) / 3) + (offset === 0 ? 0 : 1);
    return Buffer.from(text.replace(/=+$/, '').slice(from, -2));
  };
  const utf16 = Buffer.from(secret.toString('utf8'), 'utf16le');
  return [
    ['utf8', secret],
    ['base64', aligned('base64', 0)],
    ['base64url', aligned('base64url', 0)],
    ['hex', Buffer.from(secret.toString('hex'))],
    ['HEX', Buffer.from(secret.toString('hex').toUpperCase())],
    ['utf16le', utf16],
    ['utf16be', Buffer.from(utf16).swap16()],
    ['bytes', Buffer.from(secret.toJSON().data.join(','))],
  ];
}

function searchedForms(): [string, Buffer][] {
  const secrets: [string, Buffer][] = [
    ...Object.entries(CANARIES).map(([name, text]): [string, Buffer] => [name, Buffer.from(text)]),
    ['keyFile', KEY_FILE_BYTES],
  ];
  return secrets.flatMap(([name, secret]) => [
    ...formsOf(secret).map(([form, bytes]): [string, Buffer] => [`${name} as ${form}`, bytes]),
    ...[1, 2].map((offset): [string, Buffer] => {
      const text = Buffer.concat([Buffer.alloc(offset), secret]).toString('base64');
      return [`${name} as base64 at offset ${offset}`, Buffer.from(text.slice(4, -4))];
    }),
    // `<Buffer 63 61 …>` of util.inspect
    [
      `${name} as inspected bytes`,
      Buffer.from(secret.toString('hex').replace(/(..)(?!$)/g, '$1 ')),
    ],
  ]);
}

function leaksInBytes(haystack: Buffer): string[] {
  return searchedForms()
    .filter(([, needle]) => haystack.includes(needle))
    .map(([name]) => name);
}

function leaksIn(places: Readonly<Record<string, string>>): string[] {
  return Object.entries(places).flatMap(([place, text]) => {
    const bytes = Buffer.from(text);
    return searchedForms().flatMap(([name, needle]) => {
      const at = bytes.indexOf(needle);
      if (at < 0) return [];
      return [`${place}: ${name}: …${bytes.subarray(Math.max(0, at - 200), at + 60).toString()}…`];
    });
  });
}
