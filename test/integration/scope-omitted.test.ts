import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Column, DeleteDateColumn, Entity, PrimaryColumn } from 'typeorm';
import type { DataSource } from 'typeorm';
import {
  BlindIndex,
  Encrypted,
  KeyScope,
  KmsUnavailableError,
  localKms,
  UnsupportedQueryError,
} from '../../src';
import type { KmsProvider } from '../../src';
import { describeEachDatabase } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { StatementLog } from '../support/statement-log';
import { Cleanup, keyFileKms, protect, rejection } from '../support/protected-database';
import { watchedKms } from '../support/watched-kms';

class Address {
  @Encrypted({ nullable: true }) street?: string | null;
}

@Entity()
class Letter {
  @PrimaryColumn() id!: number;
  @KeyScope({ kind: 'tenant' }) @PrimaryColumn() tenantId!: string;
  @Encrypted({ nullable: true }) @BlindIndex() text?: string | null;
  @Column(() => Address) address: Address = new Address();
  @Column({ default: '' }) status!: string;
  @DeleteDateColumn() deletedAt?: Date | null;
}

function letter(id: number, tenantId: string): Partial<Letter> {
  return { id, tenantId, text: `text ${tenantId}`, address: { street: `street ${tenantId}` } };
}

describeEachDatabase('Values that were omitted', (database) => {
  const cleanup = new Cleanup();
  const folder = mkdtempSync(join(tmpdir(), 'field-encryption-key-'));
  const keyFile = join(folder, 'bank');
  writeFileSync(keyFile, randomBytes(32).toString('hex'), { mode: 0o600 });
  const log = new StatementLog();
  let created: TestDatabase;
  let isAway = false;
  let dataSource: DataSource;
  afterAll(() => {
    rmSync(folder, { recursive: true, force: true });
  });
  afterEach(() => cleanup.run());

  /** The KMS of the tenant "bank". */
  const own = watchedKms(localKms({ keyFile }), (operation) => {
    if (isAway && operation === 'unwrapKey') throw new KmsUnavailableError('away');
  });

  beforeEach(async () => {
    isAway = false;
    created = await cleanup.create(database, { entities: [Letter], synchronize: true });
    const before = await open();
    await before.manager.insert(Letter, [letter(1, 'bank'), letter(2, 'north')]);
    isAway = true;
    dataSource = await open();
    log.clear();
  });

  async function open(): Promise<DataSource> {
    const common = keyFileKms();
    const kms = (scope?: { id: string }): KmsProvider => (scope?.id === 'bank' ? own : common);
    const options = { kms, onUnavailable: 'omit' } as const;
    return cleanup.add(await protect(created, options, { logger: log }).initialize());
  }

  const read = (): Promise<Letter[]> => dataSource.manager.find(Letter, { order: { id: 'ASC' } });

  /** What the rows hold, once the KMS is back. */
  async function stored(): Promise<Letter[]> {
    isAway = false;
    const other = await open();
    return other.manager.find(Letter, { order: { id: 'ASC' }, withDeleted: true });
  }

  it('stay undefined after save(), and no later one writes NULL', async () => {
    const found = await read();
    expect(found.map(({ text }) => text)).toEqual([undefined, 'text north']);
    for (const status of ['a', 'b', 'c']) {
      await dataSource.manager.save(found.map((row) => Object.assign(row, { status })));
      expect(found[0]?.text).toBeUndefined();
      expect(found[0]?.address.street).toBeUndefined();
    }
    expect(log.writes().filter((sql) => /text|street/i.test(sql))).toEqual([]);
    expect(await stored()).toMatchObject([
      { ...letter(1, 'bank'), status: 'c' },
      { ...letter(2, 'north'), status: 'c' },
    ]);
  });

  it('stay undefined after copies are saved, soft-removed and recovered', async () => {
    const [found] = await read();
    const copy = dataSource.manager.create(Letter, Object.assign({}, found, { status: 'a' }));
    await dataSource.manager.save(copy);
    await dataSource.manager.softRemove(copy);
    await dataSource.manager.recover(copy);
    expect(copy.text).toBeUndefined();
    isAway = false;
    await dataSource.manager.save(Object.assign(copy, { status: 'b' }));
    expect((await stored())[0]).toMatchObject({ ...letter(1, 'bank'), status: 'b' });
  });

  it('are not written over by an upsert of a list', async () => {
    const found = (await read()).map((row) => Object.assign({}, row, { status: 'a' }));
    log.clear();
    const refused = await rejection(dataSource.manager.upsert(Letter, found, ['id', 'tenantId']));
    expect(refused).toBeInstanceOf(UnsupportedQueryError);
    expect(refused).toMatchObject({ entity: 'Letter', property: 'text' });
    expect(String(refused)).toContain('assign null');
    expect(log.statements).toEqual([]);
    for (const row of found) await dataSource.manager.upsert(Letter, row, ['id', 'tenantId']);
    expect(await stored()).toMatchObject([
      { ...letter(1, 'bank'), status: 'a' },
      { ...letter(2, 'north'), status: 'a' },
    ]);
  });

  it('are not written over by a statement that names their columns', async () => {
    const [found] = await read();
    const insert = dataSource.manager
      .createQueryBuilder()
      .insert()
      .into(Letter)
      .values(Object.assign({}, found))
      .orUpdate(['text'], ['id', 'tenantId']);
    expect(() => insert.getQueryAndParameters()).toThrow(UnsupportedQueryError);
    await expect(insert.execute()).rejects.toBeInstanceOf(UnsupportedQueryError);
    expect((await stored())[0]).toMatchObject(letter(1, 'bank'));
  });

  it('give way to null and values that are assigned', async () => {
    const [first, second] = await read();
    await dataSource.manager.save(Object.assign(first ?? {}, { text: null }));
    expect(first?.text).toBeNull();
    expect(first?.address.street).toBeUndefined();
    expect((await stored())[0]).toMatchObject({ text: null, address: { street: 'street bank' } });
    const rows = [
      Object.assign({}, first, { text: 'new', address: { street: null } }),
      Object.assign({}, second, { text: null, address: { street: null } }),
    ];
    await dataSource.manager.upsert(Letter, rows, ['id', 'tenantId']);
    expect(await stored()).toMatchObject([{ text: 'new' }, { text: null }]);
  });
});
