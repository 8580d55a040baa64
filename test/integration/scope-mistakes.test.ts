import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { DataSource, Repository } from 'typeorm';
import {
  BlindIndex,
  ConfigurationError,
  Encrypted,
  fieldEncryption,
  IndexIntegrityError,
  KeyScope,
  KmsUnavailableError,
  localKms,
  UnsupportedValueError,
  withKeyScope,
} from '../../src';
import type { FieldEncryptionOptions, KmsProvider } from '../../src';
import { describeDiagonal } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { StatementLog } from '../support/statement-log';
import { Cleanup, keyFileKms, protect } from '../support/protected-database';

@Entity()
class Person {
  @PrimaryColumn('uuid') id: string = randomUUID();
  @KeyScope({ kind: 'tenant' }) @Column() tenantId!: string;
  @Encrypted() @BlindIndex() name!: string;
  @Encrypted() @BlindIndex({ scope: false }) email!: string;
}

function person(tenantId: string): Person {
  const values = { tenantId, name: `canary ${tenantId}`, email: `canary-${tenantId}@example.org` };
  return Object.assign(new Person(), values);
}

describeDiagonal('Mistakes and attacks around scopes', (database) => {
  const cleanup = new Cleanup();
  let created: TestDatabase;
  let dataSource: DataSource;
  let people: Repository<Person>;
  const log = new StatementLog();
  const folder = mkdtempSync(join(tmpdir(), 'field-encryption-key-'));
  afterAll(() => {
    rmSync(folder, { recursive: true, force: true });
  });
  afterEach(() => cleanup.run());

  function keyFile(name: string): KmsProvider {
    const path = join(folder, name);
    writeFileSync(path, randomBytes(32).toString('hex'), { mode: 0o600 });
    return localKms({ keyFile: path });
  }

  async function open(options: Partial<FieldEncryptionOptions> = {}): Promise<DataSource> {
    return cleanup.add(await protect(created, options, { logger: log }).initialize());
  }

  beforeEach(async () => {
    created = await cleanup.create(database, { entities: [Person], synchronize: true });
    dataSource = await open();
    people = dataSource.getRepository(Person);
  });

  /** Gives the row of one tenant the token of another's address. */
  async function swapToken(from: string, to: string): Promise<void> {
    const { driver } = dataSource;
    const column = dataSource
      .getMetadata(Person)
      .columns.find(({ databaseName }) => /email.+/i.test(databaseName));
    const token = driver.escape(String(column?.databaseName));
    const tenant = driver.escape('tenantId');
    await dataSource.query(
      `UPDATE person SET ${token} = (SELECT ${token} FROM person WHERE ${tenant} = '${from}') WHERE ${tenant} = '${to}'`,
    );
    await dataSource.query(`DELETE FROM person WHERE ${tenant} = '${from}'`);
  }

  it.each(['error', 'null'] as const)(
    'a token on the row of an erased scope finds nothing (onErased: %s)',
    async (onErased) => {
      await people.insert([person('north'), person('south')]);
      const { keys } = fieldEncryption(dataSource);
      await keys.shred({ scope: { tenant: 'north' }, reason: 'r', graceMs: 0 });
      await swapToken('south', 'north');
      const reader = await open({ onErased });
      const { email } = person('south');
      await expect(reader.manager.findOneBy(Person, { email })).rejects.toBeInstanceOf(
        IndexIntegrityError,
      );
    },
  );

  it.each([
    ['is away', 'ERR_KMS_UNAVAILABLE'],
    ['has another key', 'ERR_KEY_UNWRAP'],
    ['has no key', 'ERR_CONFIGURATION'],
  ])('a KMS of a scope that %s is left out of lists, and found by no token', async (_, code) => {
    const common = keyFileKms();
    const own: Record<string, KmsProvider> = {
      '': keyFile('north'),
      ERR_KEY_UNWRAP: keyFile('south'),
      ERR_CONFIGURATION: localKms({ keyFile: join(folder, 'none') }),
    };
    const away: KmsProvider = {
      ...{ name: 'local', description: 'away' },
      wrapKey: () => Promise.reject(new KmsUnavailableError('away')),
      unwrapKey: () => Promise.reject(new KmsUnavailableError('away')),
      health: () => Promise.resolve({ ok: false }),
    };
    const kmsOf = (of: KmsProvider): FieldEncryptionOptions['kms'] => {
      return (scope) => (scope?.id === 'north' ? of : common);
    };
    const before = await open({ kms: kmsOf(own['']!) });
    await before.manager.insert(Person, [person('north'), person('south')]);
    const refusing = kmsOf(own[code] ?? away);
    const strict = await open({ kms: refusing });
    await expect(strict.manager.find(Person)).rejects.toMatchObject({ code });
    const omitting = await open({ kms: refusing, onUnavailable: 'omit' });
    const found = await omitting.manager.find(Person, { order: { tenantId: 'ASC' } });
    expect(found.map(({ name }) => name)).toEqual([undefined, 'canary south']);
    await swapToken('south', 'north');
    const { email } = person('south');
    await expect(omitting.manager.findOneBy(Person, { email })).rejects.toMatchObject({ code });
  });

  it('a kind that no entity has is no context', async () => {
    await people.insert([person('north'), person('south')]);
    const read = (): Promise<Person[]> => people.find();
    for (const scope of [{ tenent: 'north' }, { tenant: 'north', persn: 'ada' }]) {
      const error: unknown = await withKeyScope(scope as never, read).catch((e: unknown) => e);
      expect(error).toBeInstanceOf(ConfigurationError);
      expect((error as Error).message).toContain('Its kinds are: tenant.');
      await expect(
        withKeyScope(scope as never, () => people.save(person('north'))),
      ).rejects.toBeInstanceOf(ConfigurationError);
      const other = await open({ keyScope: () => scope });
      await expect(other.manager.find(Person)).rejects.toBeInstanceOf(ConfigurationError);
    }
    expect(() => withKeyScope({}, read)).toThrow(UnsupportedValueError);
    const other = await open({ keyScope: () => ({}) });
    await expect(other.manager.find(Person)).rejects.toBeInstanceOf(UnsupportedValueError);
  });

  it('looking up a scope that there is not makes no keys', async () => {
    await people.insert(person('north'));
    const entries = async (): Promise<number> =>
      (await fieldEncryption(dataSource).audit.list()).length;
    const before = await entries();
    log.clear();
    const { name } = person('north');
    expect(await people.findBy({ tenantId: 'nowhere', name })).toEqual([]);
    await withKeyScope({ tenant: 'elsewhere' }, async () => {
      expect(await people.countBy({ name })).toBe(0);
      expect(await people.findBy({ tenantId: 'elsewhere', name })).toEqual([]);
    });
    const row = { tenantId: 'nowhere' };
    const encryption = fieldEncryption(dataSource);
    const tokens = await encryption.tokens(Person, 'name', name, undefined, { row });
    expect(tokens).not.toEqual(await encryption.tokens(Person, 'name', name, undefined, { row }));
    expect(log.writes()).toEqual([]);
    expect(await entries()).toBe(before);
    // Its first value makes them, and is found from then on.
    await people.insert(Object.assign(person('north'), { tenantId: 'nowhere' }));
    expect(await people.findBy({ tenantId: 'nowhere', name })).toHaveLength(1);
    expect(await people.findBy({ tenantId: 'north', name })).toHaveLength(1);
  });

  it('what only reads makes no keys, and says which are missing', async () => {
    await people.insert([person('north'), person('south')]);
    const { id } = await people.findOneByOrFail({ tenantId: 'north' });
    const keys = 'field_encryption_scope_keys';
    await dataSource.query(`DELETE FROM ${keys} WHERE scope = 'north' AND purpose = 'index'`);
    const reader = await open();
    const encryption = fieldEncryption(reader);
    const before: unknown = await reader.query(`SELECT * FROM ${keys} ORDER BY id`);
    const missing = { property: 'name', primaryKey: [id], code: 'MISSING_INDEX_KEY' };
    expect(await encryption.verify()).toMatchObject({ failed: 1, failures: [missing] });
    expect(await encryption.reindex({ dryRun: true })).toMatchObject({ changed: 1, failed: 0 });
    expect(await encryption.reencrypt({ dryRun: true })).toMatchObject({ changed: 0, failed: 0 });
    await encryption.status();
    await encryption.doctor();
    const { name } = person('north');
    const where = { tenantId: 'north' };
    expect(await encryption.sorted(Person, { where, order: { name: 'ASC' } })).toHaveLength(1);
    expect(await reader.manager.countBy(Person, { ...where, name })).toBe(0);
    expect(await reader.manager.findBy(Person, where)).toMatchObject([{ name }]);
    expect(await reader.query(`SELECT * FROM ${keys} ORDER BY id`)).toEqual(before);
    expect(await encryption.reindex()).toMatchObject({ changed: 1, failed: 0 });
    expect(await encryption.verify()).toMatchObject({ failed: 0 });
    expect(await reader.manager.countBy(Person, { ...where, name })).toBe(1);
  });

  it('tokens of conditions make no keys when those in memory are refreshed', async () => {
    await people.insert(person('north'));
    const reader = await open({ keyCache: { ttlMs: 1 } });
    const { name, tenantId } = person('north');
    const tokens = (): Promise<string[]> =>
      fieldEncryption(reader).tokens(Person, 'name', name, undefined, { row: { tenantId } });
    const before = await tokens();
    const keys = 'field_encryption_scope_keys';
    await dataSource.query(`DELETE FROM ${keys} WHERE purpose = 'index'`);
    log.clear();
    while (!log.of('SELECT').some((sql) => sql.includes(`FROM "${keys}"`))) {
      expect(await tokens()).toEqual(before);
      await sleep(10);
    }
    await reader.destroy();
    expect(await dataSource.query(`SELECT purpose FROM ${keys}`)).toEqual([{ purpose: 'data' }]);
  });
});
