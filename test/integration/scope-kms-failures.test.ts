import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { Column, Entity, In, PrimaryColumn } from 'typeorm';
import type { DataSource } from 'typeorm';
import {
  BlindIndex,
  ConfigurationError,
  Encrypted,
  fieldEncryption,
  KeyScope,
  KeyUnwrapError,
  KmsUnavailableError,
  localKms,
} from '../../src';
import type { FieldEncryptionOptions, KmsProvider } from '../../src';
import { describeDiagonal } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { Cleanup, keyFileKms, protect } from '../support/protected-database';
import { sqlOf } from '../support/sql-of';

@Entity()
class Note {
  @PrimaryColumn('uuid') id: string = randomUUID();
  @KeyScope({ kind: 'tenant' }) @Column() tenantId!: string;
  @Encrypted() @BlindIndex() text!: string;
}

const note = (tenantId: string): Note =>
  Object.assign(new Note(), { tenantId, text: `of ${tenantId}` });

type KmsOption = FieldEncryptionOptions['kms'];
/** What a KMS does with requests: `ok` serves them, any other fails with this. */
type Mode = 'ok' | 'hangs' | Error;

const FAILURES: readonly (readonly [string, Mode, string])[] = [
  ['is down', new KmsUnavailableError('down'), 'ERR_KMS_UNAVAILABLE'],
  ['refuses', new KeyUnwrapError('withdrawn'), 'ERR_KEY_UNWRAP'],
  ['is not set up', new ConfigurationError('no settings'), 'ERR_CONFIGURATION'],
  ['gives no answer', 'hangs', 'ERR_KMS_UNAVAILABLE'],
];

describeDiagonal('The KMS of one tenant', (database) => {
  const cleanup = new Cleanup();
  const folder = mkdtempSync(join(tmpdir(), 'field-encryption-key-'));
  const house = keyFileKms();
  const own = keyFile('bank');
  let created: TestDatabase;
  let mode: Mode;

  afterAll(() => {
    rmSync(folder, { recursive: true, force: true });
  });
  afterEach(() => cleanup.run());
  beforeEach(async () => {
    mode = 'ok';
    created = await cleanup.create(database, { entities: [Note], synchronize: true });
  });

  function keyFile(name: string): KmsProvider {
    const file = join(folder, name);
    writeFileSync(file, randomBytes(32).toString('hex'), { mode: 0o600 });
    return localKms({ keyFile: file });
  }

  let asked = 0;
  const asking = <T>(serve: () => Promise<T>): Promise<T> => {
    asked += 1;
    if (mode === 'hangs') return new Promise(() => undefined);
    return mode === 'ok' ? serve() : Promise.reject(mode);
  };
  /** The KMS of the bank. */
  const bank: KmsProvider = {
    name: 'bank',
    wrapKey: (...key) => asking(() => own.wrapKey(...key)),
    unwrapKey: (...key) => asking(() => own.unwrapKey(...key)),
    health: () => asking(() => own.health()),
  };
  const each: KmsOption = (scope) => (scope?.id === 'bank' ? bank : house);

  async function open(
    kms: KmsOption = each,
    options: Partial<FieldEncryptionOptions> = {},
  ): Promise<DataSource> {
    const keyCache = { transactionWaitMs: 20 };
    return cleanup.add(await protect(created, { kms, keyCache, ...options }).initialize());
  }

  /** Has rows of the bank and two others, whose keys are not the newest ones. */
  async function outdated(): Promise<void> {
    const dataSource = await open(each, { keyCache: {} });
    await dataSource.manager.insert(Note, ['bank', 'north', 'south'].map(note));
    const { keys } = fieldEncryption(dataSource);
    for (const tenant of ['bank', 'north', 'south']) await keys.rotateScope({ tenant });
    await dataSource.destroy();
  }

  describe.each(FAILURES)('that %s', (_, failing, code) => {
    it('leaves its rows to a later run, and stops none over all tenants', async () => {
      await outdated();
      mode = failing;
      const dataSource = await open();
      const encryption = fieldEncryption(dataSource);
      const failures = [{ entity: 'Note', code }];
      expect(await encryption.verify()).toMatchObject({ scanned: 3, failed: 1, failures });
      expect(await encryption.reencrypt({ dryRun: true })).toMatchObject({ changed: 2, failures });
      expect(await encryption.reencrypt()).toMatchObject({ changed: 2, remaining: 1, failures });
      expect(await encryption.reindex()).toMatchObject({ failed: 1, failures });
      expect(await encryption.status()).toHaveLength(1);
      mode = 'ok';
      const after = fieldEncryption(await open(each, { keyCache: {} }));
      expect(await after.reencrypt()).toMatchObject({ changed: 1, failed: 0, remaining: 0 });
      expect(await after.verify()).toMatchObject({ scanned: 3, failed: 0 });
    });

    it('is named by a verification of the audit log, with what it says of the others', async () => {
      await outdated();
      mode = failing;
      const { audit } = fieldEncryption(await open());
      const { ok, broken, undecided, unproven } = await audit.verify();
      expect({ ok, broken }).toEqual({ ok: false, broken: null });
      expect([...undecided, ...unproven]).toMatchObject([{ code }]);
    });

    it('leaves lists without its values where these may be left out', async () => {
      await outdated();
      mode = failing;
      const { manager } = await open(each, { onUnavailable: 'omit' });
      for (let i = 0; i < 2; i += 1) {
        const found = await manager.find(Note, { order: { tenantId: 'ASC' } });
        expect(found.map(({ text }) => text)).toEqual([undefined, 'of north', 'of south']);
      }
      await manager.insert(Note, note('north'));
      await expect(manager.insert(Note, note('bank'))).rejects.toMatchObject({ code });
    });

    it('keeps its keys, and no others, from being sealed again', async () => {
      await outdated();
      const before = await open(each, { keyCache: {} });
      const { keys } = fieldEncryption(before);
      await before.manager.find(Note);
      for (const { name } of await keys.list()) {
        if (name.startsWith('branch')) await keys.rotate(name);
      }
      await before.destroy();
      mode = failing;
      const report = await fieldEncryption(await open()).keys.resealScopes();
      expect(report).toMatchObject({ conflicts: 0, failures: [{ kind: 'tenant', code, keys: 3 }] });
      // Two versions of the data key and the index key of each of the others.
      expect(report.resealed).toBe(6);
    });
  });

  it('is given up once for all rows when it gives no answer', async () => {
    await outdated();
    mode = 'hangs';
    const dataSource = await open();
    await expect(dataSource.manager.find(Note)).rejects.toBeInstanceOf(KmsUnavailableError);
    const first = asked;
    for (let i = 0; i < 10; i += 1) {
      await expect(dataSource.manager.insert(Note, note('bank'))).rejects.toBeInstanceOf(
        KmsUnavailableError,
      );
      expect(await fieldEncryption(dataSource).verify()).toMatchObject({ scanned: 3, failed: 1 });
    }
    expect(asked).toBe(first);
  });

  describe('that gives no answer for longer than keys may age', () => {
    const waitMs = 300;
    const keyCache = { transactionWaitMs: waitMs, ttlMs: 2 * waitMs, maxAgeMs: 3 * waitMs };

    /** A process in which the KMS hangs. */
    async function hanging(options: Partial<FieldEncryptionOptions> = {}): Promise<DataSource> {
      await outdated();
      mode = 'hangs';
      return open(each, { keyCache, ...options });
    }

    it('takes no values of others away from a list', async () => {
      const { manager } = await hanging({ onUnavailable: 'omit' });
      const found = await manager.find(Note, { order: { tenantId: 'ASC' } });
      expect(found.map(({ text }) => text)).toEqual([undefined, 'of north', 'of south']);
    });

    it('keeps nobody from reading others right after it', async () => {
      const { manager } = await hanging();
      await expect(manager.find(Note)).rejects.toMatchObject({ code: 'ERR_KMS_UNAVAILABLE' });
      expect(await manager.findBy(Note, { tenantId: In(['north', 'south']) })).toHaveLength(2);
    });

    it('takes none away from values that are decrypted, nor rows from a run', async () => {
      const dataSource = await hanging();
      const rows = await dataSource.query<{ text: string; tenantId: string }[]>(
        sqlOf(dataSource.options, 'SELECT * FROM note ORDER BY "tenantId"'),
      );
      const encryption = fieldEncryption(dataSource);
      const stored = rows.map(({ text }) => text);
      const { values, failures } = await encryption.decryptValues(Note, 'text', stored, { rows });
      expect(values).toEqual([undefined, 'of north', 'of south']);
      expect(failures).toHaveLength(1);
      const again = fieldEncryption(await open(each, { keyCache }));
      expect(await again.reencrypt()).toMatchObject({ changed: 2, remaining: 1 });
    });
  });

  it.each<[string, unknown]>([
    ['undefined', undefined],
    ['null', null],
    ['text', 'x'.repeat(32)],
    ['a list', new Array(32).fill(1)],
  ])('counts as away where it returns %s', async (_, answer) => {
    await outdated();
    const broken = (() => Promise.resolve(answer)) as () => Promise<never>;
    const kms: KmsOption = (scope) =>
      scope?.id === 'bank'
        ? { name: 'bank', wrapKey: broken, unwrapKey: broken, health: broken }
        : house;
    const dataSource = await open(kms);
    const away = { code: 'ERR_KMS_UNAVAILABLE' };
    const { manager } = dataSource;
    await expect(manager.findBy(Note, { tenantId: 'bank' })).rejects.toMatchObject(away);
    await expect(manager.insert(Note, note('bank'))).rejects.toMatchObject(away);
    expect(await manager.findBy(Note, { tenantId: 'north' })).toHaveLength(1);
    const { audit } = fieldEncryption(dataSource);
    expect(await audit.verify()).toMatchObject({ broken: null, undecided: [away], unproven: [] });
  });

  it('is one of many that are asked at once, without a warning of too many listeners', async () => {
    const names = Array.from({ length: 16 }, (_, i) => `own${i}`);
    const providers = new Map(names.map((name) => [name, { ...bank, name }]));
    const kms: KmsOption = (scope) => providers.get(scope?.id ?? '') ?? house;
    await (await open(kms)).manager.insert(Note, names.map(note));
    const listening = jest.spyOn(EventTarget.prototype, 'addEventListener');
    const dataSource = await open(kms);
    expect(await dataSource.manager.find(Note)).toHaveLength(names.length);
    const listeners = new Map<unknown, number>();
    for (const to of listening.mock.contexts) listeners.set(to, (listeners.get(to) ?? 0) + 1);
    listening.mockRestore();
    expect(listeners.size).toBeGreaterThan(names.length);
    expect(Math.max(...listeners.values())).toBeLessThanOrEqual(10);
  });

  it('is waited for along with others in a verification of the audit log', async () => {
    const names = Array.from({ length: 8 }, (_, i) => `own${i}`);
    let [waiting, most] = [0, 0];
    const together: KmsProvider = {
      ...bank,
      unwrapKey: async (...key) => {
        waiting += 1;
        most = Math.max(most, waiting);
        await wait(50);
        waiting -= 1;
        return own.unwrapKey(...key);
      },
    };
    const providers = new Map(names.map((name) => [name, { ...together, name }]));
    const kms: KmsOption = (scope) => providers.get(scope?.id ?? '') ?? house;
    const options = { keyCache: {} };
    await (await open(kms, options)).manager.insert(Note, names.map(note));
    const dataSource = await open(kms, options);
    await dataSource.manager.find(Note);
    most = 0;
    expect((await fieldEncryption(dataSource).audit.verify()).ok).toBe(true);
    expect(most).toBe(names.length);
  });

  it('keeps the keys of an edited row, and no others, from being sealed again', async () => {
    const dataSource = await open(house);
    const { manager } = dataSource;
    await manager.insert(Note, ['north', 'south'].map(note));
    const { keys } = fieldEncryption(dataSource);
    const [old] = (await keys.list()).filter(({ name }) => name === 'branch');
    await keys.rotate('branch');
    await dataSource.query(
      `UPDATE field_encryption_scope_keys SET version = 7 WHERE scope = 'north' AND purpose = 'data'`,
    );
    expect(await keys.resealScopes()).toMatchObject({
      resealed: 3,
      failures: [{ kind: 'tenant', code: 'ERR_KEY_UNWRAP', keys: 1 }],
    });
    await expect(keys.destroy(String(old?.id), { graceMs: 0 })).rejects.toMatchObject({
      code: 'ERR_KEY_STATE',
    });
    expect(await manager.findBy(Note, { tenantId: 'south' })).toHaveLength(1);
  });

  it('is that of all where the process has rewrapped the keys meanwhile', async () => {
    const next = keyFile('next');
    const before = await open(() => house, { keyCache: {} });
    await before.manager.insert(Note, note('north'));
    expect(await fieldEncryption(before).keys.rewrap({ to: next })).toMatchObject({
      ...{ ofScopes: 0, failures: [] },
    });
    await before.manager.insert(Note, note('south'));
    const names = (await fieldEncryption(before).keys.list()).map(({ name }) => name);
    expect(names.filter((name) => name.startsWith('branch'))).toEqual(['branch']);
    const { manager } = await open(() => next);
    expect(await manager.find(Note)).toHaveLength(2);
  });

  it('is left by a rotation and a run, with its provider among the others', async () => {
    const before = await open(each, { keyCache: {} });
    await before.manager.insert(Note, ['bank', 'north'].map(note));
    await before.destroy();
    const without = await open(() => house, { keyCache: {} });
    await expect(without.manager.findBy(Note, { tenantId: 'bank' })).rejects.toMatchObject({
      code: 'ERR_KMS_UNAVAILABLE',
    });
    const { ofScopes, failures } = await fieldEncryption(without).keys.rewrap();
    expect(ofScopes).toBe(1);
    expect(failures).toMatchObject([{ code: 'ERR_KMS_UNAVAILABLE' }]);
    expect(failures[0]?.message).toContain('otherKms');

    const back = await open(() => house, { otherKms: [bank], keyCache: {} });
    const { keys, reencrypt } = withReencrypt(back);
    expect(await back.manager.find(Note)).toHaveLength(2);
    await back.manager.insert(Note, note('bank'));
    await keys.rotateScope({ tenant: 'bank' });
    expect(await reencrypt()).toMatchObject({ changed: 2, failed: 0, remaining: 0 });
    expect(await keys.rewrap()).toMatchObject({ ofScopes: 1, failures: [] });
    // What is encrypted now can be read without it.
    mode = new KmsUnavailableError('gone');
    const { manager } = await open(() => house, { otherKms: [bank], keyCache: {} });
    expect(await manager.findBy(Note, { tenantId: 'bank' })).toHaveLength(2);
  });

  it.each<[string, () => unknown]>([
    [
      'throws',
      () => {
        throw new TypeError('no settings');
      },
    ],
    ['returns nothing', () => undefined],
    ['returns a promise', () => Promise.resolve(bank)],
  ])('is missing for its rows alone where the option %s', async (_, missing) => {
    await outdated();
    const kms: KmsOption = (scope) =>
      scope?.id === 'north'
        ? (missing() as KmsProvider)
        : (each as (s: unknown) => KmsProvider)(scope);
    const options = { keyCache: {} };
    const dataSource = await open(kms, options);
    const { manager } = dataSource;
    for (const work of [
      () => manager.findBy(Note, { tenantId: 'north' }),
      () => manager.findBy(Note, { tenantId: 'north', text: 'of north' }),
      () => manager.insert(Note, note('north')),
      () => manager.insert(Note, ['north', 'south'].map(note)),
      () => fieldEncryption(dataSource).keys.rotateScope({ tenant: 'north' }),
    ]) {
      await expect(work()).rejects.toBeInstanceOf(ConfigurationError);
    }
    await manager.insert(Note, note('south'));
    expect(await manager.findBy(Note, { tenantId: In(['bank', 'south']) })).toHaveLength(3);
    const encryption = fieldEncryption(dataSource);
    const failures = [{ code: 'ERR_CONFIGURATION' }];
    expect(await encryption.verify()).toMatchObject({ scanned: 4, failed: 1, failures });
    expect(await encryption.audit.verify()).toMatchObject({ ok: true });
    await dataSource.destroy();
    const omitting = await open(kms, { ...options, onUnavailable: 'omit' });
    const found = await omitting.manager.find(Note, { order: { tenantId: 'ASC' } });
    expect(found.map(({ text }) => text)).toEqual(['of bank', undefined, 'of south', 'of south']);
    await omitting.destroy();
  });

  function withReencrypt(dataSource: DataSource) {
    const encryption = fieldEncryption(dataSource);
    return { keys: encryption.keys, reencrypt: () => encryption.reencrypt() };
  }
});
