import 'reflect-metadata';
import { Column, DataSource, Entity, PrimaryGeneratedColumn } from 'typeorm';
import type { DataSourceOptions, Repository, ValueTransformer } from 'typeorm';
import { createCipheriv, createDecipheriv, createSecretKey, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BlindIndex, Encrypted, fieldEncryption, localKms, withFieldEncryption } from '../../src';
import type { CipherSuite } from '../../src';
import { measure } from '../measure';
import type { Variant } from '../measure';
import type { Result, Scenario, Sizes } from '../scenario';

/** Ten columns, four of them secret in the encrypted variants. */
interface Person {
  id: number;
  name: string;
  city: string;
  street: string;
  zip: string;
  visits: number;
  email: string;
  phone: string;
  ssn: string;
  note: string;
}

@Entity()
class PlainPerson implements Person {
  @PrimaryGeneratedColumn() id!: number;
  @Column() name!: string;
  @Column() city!: string;
  @Column() street!: string;
  @Column() zip!: string;
  @Column() visits!: number;
  @Column() email!: string;
  @Column() phone!: string;
  @Column() ssn!: string;
  @Column() note!: string;
}

@Entity()
class EncryptedPerson implements Person {
  @PrimaryGeneratedColumn() id!: number;
  @Column() name!: string;
  @Column() city!: string;
  @Column() street!: string;
  @Column() zip!: string;
  @Column() visits!: number;
  @Encrypted() @BlindIndex() email!: string;
  @Encrypted() phone!: string;
  @Encrypted() ssn!: string;
  @Encrypted() note!: string;
}

/** What a careful team writes by hand: a column transformer over node:crypto. */
const handTuned = transformer();

@Entity()
class TransformedPerson implements Person {
  @PrimaryGeneratedColumn() id!: number;
  @Column() name!: string;
  @Column() city!: string;
  @Column() street!: string;
  @Column() zip!: string;
  @Column() visits!: number;
  @Column({ transformer: handTuned }) email!: string;
  @Column({ transformer: handTuned }) phone!: string;
  @Column({ transformer: handTuned }) ssn!: string;
  @Column({ transformer: handTuned }) note!: string;
}

interface Contender {
  readonly name: string;
  readonly people: Repository<Person>;
}

/** Reading and writing entities through TypeORM, on SQLite in memory. */
export const typeormOnSqlite: Scenario = async (sizes) => {
  const folder = mkdtempSync(join(tmpdir(), 'field-encryption-bench-'));
  const keyFile = join(folder, 'kek');
  writeFileSync(keyFile, randomBytes(32), { mode: 0o600 });
  try {
    return await onEveryContender(sizes, keyFile);
  } finally {
    rmSync(folder, { recursive: true });
  }
};

async function onEveryContender(sizes: Sizes, keyFile: string): Promise<Result[]> {
  const contenders: Contender[] = [
    { name: 'plain columns', people: await open(PlainPerson) },
    { name: 'hand-tuned transformer', people: await open(TransformedPerson) },
    {
      name: 'encrypted, xaes-256-gcm',
      people: await open(EncryptedPerson, 'xaes-256-gcm', keyFile),
    },
    {
      name: 'encrypted, xchacha20-poly1305',
      people: await open(EncryptedPerson, 'xchacha20-poly1305', keyFile),
    },
  ];
  for (const { people } of contenders) await fill(people, sizes.rows);
  const results = [
    await find(contenders, sizes),
    await findOneById(contenders, sizes),
    await saveUntouched(contenders, sizes),
    await insert(contenders, sizes),
    await partialUpdate(contenders, sizes),
    await reencrypt(contenders, sizes),
  ];
  for (const { people } of contenders) await people.manager.connection.destroy();
  return results;
}

/** In chunks that fit into one statement. */
async function fill(people: Repository<Person>, rows: number): Promise<void> {
  const all = persons(rows);
  for (let at = 0; at < rows; at += 1000) await people.insert(all.slice(at, at + 1000));
}

async function find(contenders: readonly Contender[], { rows, rounds }: Sizes): Promise<Result> {
  const variants = each(contenders, ({ people }) => people.find());
  return result('find() of all rows', `${String(rows)} rows, 4 of 10 columns`, variants, rounds);
}

async function findOneById(
  contenders: readonly Contender[],
  { rows, rounds }: Sizes,
): Promise<Result> {
  const count = Math.min(500, rows);
  const variants = each(contenders, async ({ people }) => {
    for (let id = 1; id <= count; id++) await people.findOneBy({ id });
  });
  return result('findOneBy({ id })', `${String(count)} queries`, variants, rounds);
}

async function saveUntouched(
  contenders: readonly Contender[],
  { rows, rounds }: Sizes,
): Promise<Result> {
  const take = Math.min(1000, rows);
  const loaded = new Map<Contender, Person[]>();
  for (const contender of contenders) loaded.set(contender, await contender.people.find({ take }));
  const variants = each(contenders, (contender) =>
    contender.people.save(loaded.get(contender) ?? [], { chunk: 500 }),
  );
  return result('save() of untouched entities', `${String(take)} entities`, variants, rounds);
}

async function insert(contenders: readonly Contender[], { rows, rounds }: Sizes): Promise<Result> {
  const batch = Math.min(1000, rows);
  const variants = contenders.map(({ name, people }) => ({
    name,
    run: () => people.insert(persons(batch)),
    reset: async () => {
      await people.createQueryBuilder().delete().where('id > :rows', { rows }).execute();
    },
  }));
  return result('insert() of new rows', `${String(batch)} rows`, variants, rounds);
}

async function partialUpdate(
  contenders: readonly Contender[],
  { rows, rounds }: Sizes,
): Promise<Result> {
  const count = Math.min(200, rows);
  let turn = 0;
  const variants = each(contenders, async ({ people }) => {
    turn += 1;
    for (let id = 1; id <= count; id++)
      await people.update({ id }, { note: `note ${String(turn)}` });
  });
  return result('update() of one secret column', `${String(count)} updates`, variants, rounds);
}

async function reencrypt(
  contenders: readonly Contender[],
  { rows, rounds }: Sizes,
): Promise<Result> {
  const [, , encrypted] = contenders;
  if (encrypted === undefined) throw new Error('no encrypted contender');
  const { people } = encrypted;
  const dataSource = people.manager.connection;
  const escaped = dataSource.driver.escape(people.metadata.tableName);
  const rotate = async (): Promise<void> => {
    await fieldEncryption(dataSource).keys.rotate();
  };
  await rotate();
  const variants: Variant[] = [
    {
      name: 'server-side UPDATE of four columns',
      run: () =>
        dataSource.query(
          `UPDATE ${escaped} SET email = email || '', phone = phone || '', ssn = ssn || '', note = note || ''`,
        ),
    },
    {
      name: 'reencrypt()',
      run: () => fieldEncryption(dataSource).reencrypt(),
      reset: rotate,
    },
  ];
  return result('re-encryption of all rows', `${String(rows)} rows, 4 columns`, variants, rounds);
}

async function result(
  scenario: string,
  unit: string,
  variants: readonly Variant[],
  rounds: number,
): Promise<Result> {
  return { scenario, unit, measurements: await measure(variants, rounds) };
}

function each(
  contenders: readonly Contender[],
  work: (contender: Contender) => unknown,
): Variant[] {
  return contenders.map((contender) => ({ name: contender.name, run: () => work(contender) }));
}

async function open(
  entity: new () => Person,
  suite?: CipherSuite,
  keyFile?: string,
): Promise<Repository<Person>> {
  const options: DataSourceOptions = {
    type: 'better-sqlite3',
    database: ':memory:',
    entities: [entity],
    synchronize: true,
  };
  const dataSource = new DataSource(options);
  if (suite !== undefined && keyFile !== undefined) {
    withFieldEncryption(dataSource, { kms: localKms({ keyFile }), suite });
  }
  await dataSource.initialize();
  return dataSource.getRepository(entity);
}

function persons(count: number): Omit<Person, 'id'>[] {
  return Array.from({ length: count }, (_, i) => ({
    name: `Person ${String(i)}`,
    city: 'Utrecht',
    street: 'Oudegracht 1',
    zip: '3511 AB',
    visits: i,
    email: `person${String(i)}@example.org`,
    phone: `+31 30 555 ${String(i).padStart(4, '0')}`,
    ssn: `078-05-${String(i).padStart(4, '0')}`,
    note: 'seen twice, prescribed rest and a warmer climate',
  }));
}

function transformer(): ValueTransformer {
  const key = createSecretKey(randomBytes(32));
  const options = { authTagLength: 16 };
  return {
    to: (text: string) => {
      const iv = randomBytes(12);
      const cipher = createCipheriv('aes-256-gcm', key, iv, options);
      const sealed = cipher.update(text, 'utf8');
      cipher.final();
      return Buffer.concat([iv, sealed, cipher.getAuthTag()]).toString('base64url');
    },
    from: (stored: string) => {
      const bytes = Buffer.from(stored, 'base64url');
      const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, 12), options);
      decipher.setAuthTag(bytes.subarray(bytes.length - 16));
      const plain = decipher.update(bytes.subarray(12, bytes.length - 16));
      decipher.final();
      return plain.toString('utf8');
    },
  };
}
