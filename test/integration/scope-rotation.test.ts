import { randomBytes } from 'node:crypto';
import { chmodSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { DataSource } from 'typeorm';
import {
  ALL_SCOPES,
  Encrypted,
  fieldEncryption,
  KeyScope,
  KeyStateError,
  KeyUnwrapError,
  KmsUnavailableError,
  localKms,
  UnsupportedValueError,
} from '../../src';
import type { FieldEncryptionOptions, KmsProvider, RotationPolicy, ScopeRotation } from '../../src';
import { describeDiagonal, typeormMajor } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { createProject } from '../support/project';
import type { Project } from '../support/project';
import { Cleanup, keyFileKms, protect } from '../support/protected-database';
import { watchedKms } from '../support/watched-kms';
import { StatementLog } from '../support/statement-log';

@Entity('person')
class Person {
  @PrimaryColumn() id!: number;
  @KeyScope({ kind: 'tenant' }) @Column() tenantId!: string;
  @Encrypted() ssn!: string;
}

const DAY_MS = 86_400_000;

const tenant = (n: number): string => `secret-tenant-${String(n)}`;

function people(...numbers: readonly number[]): Person[] {
  return numbers.map((n) =>
    Object.assign(new Person(), { id: n, tenantId: tenant(n), ssn: `canary ${String(n)}` }),
  );
}

function rotation(rotated: number, rest: Partial<ScopeRotation> = {}): ScopeRotation {
  return { kind: 'tenant', rotated, erased: 0, toBeErased: 0, failures: [], ...rest };
}

/** Returns the age, later, of keys that were made before, but of none that is made after. Keys go by seconds. */
async function ageOfPresentKeys(): Promise<() => number> {
  await sleep(1_100);
  const since = Date.now();
  await sleep(1_100);
  return () => (Date.now() - since) / DAY_MS;
}

/** The data keys of scopes as the table has them. */
async function versions(dataSource: DataSource): Promise<Record<string, number>> {
  const rows: { scope: string; version: number }[] = await dataSource.query(
    `SELECT scope, version FROM field_encryption_scope_keys WHERE purpose = 'data' AND state <> 'deactivated'`,
  );
  return Object.fromEntries(rows.map(({ scope, version }) => [scope, version]));
}

describeDiagonal('The rotation of keys of scopes', (database) => {
  const cleanup = new Cleanup();
  let created: TestDatabase;
  let log: StatementLog;
  let daysLater: number;

  beforeEach(async () => {
    daysLater = 0;
    log = new StatementLog();
    created = await cleanup.create(database, { entities: [Person], synchronize: true });
  });
  afterEach(() => cleanup.run());

  async function open(options: Partial<FieldEncryptionOptions> = {}): Promise<DataSource> {
    const now = (): Date => new Date(Date.now() + daysLater * DAY_MS);
    const dataSource = protect(created, { now, ...options }, { logger: log });
    return cleanup.add(await dataSource.initialize());
  }

  async function filled(
    numbers: readonly number[],
    options: Partial<FieldEncryptionOptions> = {},
  ): Promise<DataSource> {
    const dataSource = await open(options);
    for (let at = 0; at < numbers.length; at += 500) {
      await dataSource.manager.insert(Person, people(...numbers.slice(at, at + 500)));
    }
    return dataSource;
  }

  it('takes a few statements for each five hundred, and an entry of the audit log', async () => {
    const dataSource = await filled(Array.from({ length: 2000 }, (_, n) => n));
    const { audit, keys } = fieldEncryption(dataSource);
    expect(await keys.rotateScopes({ kind: 'tenant', dryRun: true })).toEqual([rotation(2000)]);
    expect(Object.values(await versions(dataSource))).toEqual(Array(2000).fill(1));
    log.clear();
    expect(await keys.rotateScopes({ kind: 'tenant' })).toEqual([rotation(2000)]);
    // 24 at most for each of 4 pages, and 1 to find that there is no fifth.
    expect(log.statements.length).toBeLessThan(100);
    expect(Object.values(await versions(dataSource))).toEqual(Array(2000).fill(2));
    const entries = await audit.list({ operation: 'rotate' });
    expect(entries.map(({ counts }) => counts)).toEqual(Array(4).fill({ scopeKeys: 500 }));
    expect(JSON.stringify(entries)).not.toContain('secret-tenant');
    expect(await audit.verify()).toMatchObject({ ok: true });
    expect(await fieldEncryption(dataSource).reencrypt()).toMatchObject({
      changed: 2000,
      failed: 0,
    });
    const reader = await open();
    expect(await reader.manager.findOneBy(Person, { id: 1999 })).toMatchObject({
      ssn: 'canary 1999',
    });
  });

  it('is for a list, a kind or all, and for keys of an age', async () => {
    const dataSource = await filled([1, 2, 3]);
    const { keys } = fieldEncryption(dataSource);
    const scopes = [{ tenant: tenant(1) }, { tenant: tenant(2) }, { tenant: tenant(1) }];
    expect(await keys.rotateScopes({ scopes, dryRun: true })).toEqual([rotation(2)]);
    expect(await keys.rotateScopes({ scopes })).toEqual([rotation(2)]);
    expect(await versions(dataSource)).toEqual({ [tenant(1)]: 2, [tenant(2)]: 2, [tenant(3)]: 1 });
    expect(await keys.rotateScopes({ scopes: ALL_SCOPES })).toEqual([rotation(3)]);
    expect(await keys.rotateScopes({ scopes: ALL_SCOPES, olderThanDays: 30 })).toEqual([
      rotation(0),
    ]);
    daysLater = 31;
    expect(await keys.rotateScopes({ scopes: scopes.slice(1, 2), olderThanDays: 32 })).toEqual([
      rotation(0),
    ]);
    expect(await keys.rotateScopes({ kind: 'tenant', olderThanDays: 30 })).toEqual([rotation(3)]);
    expect(await versions(dataSource)).toEqual({ [tenant(1)]: 4, [tenant(2)]: 4, [tenant(3)]: 3 });
    await dataSource.manager.update(Person, { tenantId: tenant(1) }, { ssn: 'canary new' });
    expect(await (await open()).manager.find(Person, { order: { id: 'ASC' } })).toMatchObject([
      ...[{ ssn: 'canary new' }, { ssn: 'canary 2' }, { ssn: 'canary 3' }],
    ]);
  });

  it('refuses to guess which scopes are meant', async () => {
    const { keys } = fieldEncryption(await filled([1]));
    for (const options of [
      {},
      { kind: 'tenant', scopes: ALL_SCOPES },
      { kind: 'tenant', olderThanDays: -1 },
      { scopes: [{}] },
      { scopes: { tenant: '1' } },
    ] as const) {
      await expect(keys.rotateScopes(options as object)).rejects.toBeInstanceOf(
        UnsupportedValueError,
      );
    }
    await expect(keys.scopeStatus({ tenant: '1' } as never)).rejects.toThrow('as a list');
    await expect(keys.rotateScope({ tenant: 'x' })).rejects.toBeInstanceOf(KeyStateError);
    // One that has no keys may be a slip, and nothing is done for the others.
    const withUnknown = keys.rotateScopes({ scopes: [{ tenant: 'x' }, { tenant: tenant(1) }] });
    await expect(withUnknown).rejects.toBeInstanceOf(KeyStateError);
    expect(await keys.scopeStatus([{ tenant: tenant(1) }])).toMatchObject([
      { keys: [{ version: 1 }] },
    ]);
  });

  it('leaves erased scopes alone, and those that are to be erased', async () => {
    const dataSource = await filled([1, 2, 3, 4]);
    const { keys } = fieldEncryption(dataSource);
    const named = (n: number): { scope: { tenant: string }; reason: string } => ({
      scope: { tenant: tenant(n) },
      reason: 'case 1',
    });
    await keys.shred({ ...named(1), graceMs: 0 });
    await keys.shred(named(2));
    await keys.hold(named(3));
    const all = [rotation(2, { toBeErased: 1 })];
    expect(await keys.rotateScopes({ kind: 'tenant', dryRun: true })).toEqual(all);
    expect(await keys.rotateScopes({ kind: 'tenant' })).toEqual(all);
    const scopes = [1, 2, 3, 4].map((n) => ({ tenant: tenant(n) }));
    const some = [rotation(2, { erased: 1, toBeErased: 1 })];
    expect(await keys.rotateScopes({ scopes, dryRun: true })).toEqual(some);
    expect(await keys.rotateScopes({ scopes })).toEqual(some);
    const after = { [tenant(1)]: 1, [tenant(2)]: 1, [tenant(3)]: 3, [tenant(4)]: 3 };
    expect(await versions(dataSource)).toEqual(after);
    await keys.cancelShred(named(2));
    expect(await keys.rotateScopes({ scopes })).toEqual([rotation(3, { erased: 1 })]);
  });

  it('counts a scope whose own KMS refuses, and goes on with the others', async () => {
    let isAway = false;
    const refusing = (kms: KmsProvider): KmsProvider =>
      watchedKms(kms, (operation) => {
        if (isAway && operation === 'unwrapKey') throw new KmsUnavailableError('withdrawn');
      });
    const [common, own] = [keyFileKms(), refusing(keyFileKms())];
    const kms: FieldEncryptionOptions['kms'] = (scope) => (scope?.id === tenant(2) ? own : common);
    await filled([1, 2, 3], { kms });
    isAway = true;
    const dataSource = await open({ kms });
    const [done] = await fieldEncryption(dataSource).keys.rotateScopes({ kind: 'tenant' });
    expect(done).toMatchObject({
      ...{ rotated: 2, erased: 0 },
      failures: [{ code: 'ERR_KMS_UNAVAILABLE', scopes: 1 }],
    });
    expect(JSON.stringify(done)).not.toContain('secret-tenant');
    expect(await versions(dataSource)).toEqual({ [tenant(1)]: 2, [tenant(2)]: 1, [tenant(3)]: 2 });
  });

  it('rotates each key once where two do it at the same time, and fails for a spoilt scope alone', async () => {
    const dataSource = await filled(Array.from({ length: 40 }, (_, n) => n));
    // Takes the number of the next version.
    await dataSource.query(
      'INSERT INTO field_encryption_scope_keys ' +
        '(id, kind, scope, purpose, version, state, suite, branch_id, since, sealed, prefix) SELECT ' +
        `'00000000000000aa', kind, scope, purpose, 2, 'deactivated', suite, branch_id, since, sealed, 'AgAAAAAAAACq' ` +
        `FROM field_encryption_scope_keys WHERE scope = '${tenant(7)}' AND purpose = 'data'`,
    );
    const other = await open();
    const age = await ageOfPresentKeys();
    const reports = await Promise.all(
      [dataSource, other].map((each) =>
        fieldEncryption(each).keys.rotateScopes({ kind: 'tenant', olderThanDays: age() }),
      ),
    );
    const rotated = reports.flat().reduce((sum, each) => sum + each.rotated, 0);
    expect(rotated).toBe(39);
    const after = await versions(dataSource);
    expect(Object.values(after).filter((version) => version === 2)).toHaveLength(39);
    expect(after[tenant(7)]).toBe(1);
    expect(await (await open()).manager.count(Person)).toBe(40);
  });

  describe('by policy', () => {
    const policies = (policy: RotationPolicy): Partial<FieldEncryptionOptions> => ({
      keyPolicies: { tenant: { cryptoperiodDays: 40, rotation: policy } },
    });
    const maintained = async (dataSource: DataSource): Promise<unknown> => {
      const { scopes, failures } = await fieldEncryption(dataSource).keys.maintain();
      return { scopes, failures };
    };
    const nothing = { scopes: [], failures: [] };

    it.each<[RotationPolicy, number]>([
      [{ kind: 'periodic', everyDays: 30 }, 30],
      [{ kind: 'beforeExpiry', days: 10 }, 30],
    ])('is due by %o, and made by maintain()', async (policy, days) => {
      const dataSource = await filled([1, 2], policies(policy));
      const encryption = fieldEncryption(dataSource);
      daysLater = days - 1;
      expect(await maintained(dataSource)).toEqual(nothing);
      expect((await encryption.status()).due).toEqual([]);
      daysLater = days + 1;
      await encryption.keys.shred({ scope: { tenant: tenant(2) }, reason: 'case 1' });
      expect((await encryption.status()).due).toContainEqual({
        command: 'keys maintain',
        reason: '1 key of scopes of kind tenant due for rotation',
      });
      expect(await maintained(dataSource)).toEqual({
        ...{ scopes: [rotation(1, { toBeErased: 1 })], failures: [] },
      });
      expect(await versions(dataSource)).toEqual({ [tenant(1)]: 2, [tenant(2)]: 1 });
    });

    it('is due at a match of a pattern after the key was made', async () => {
      const dataSource = await filled([1], policies({ kind: 'cron', pattern: '0 0 1 * *' }));
      expect(await maintained(dataSource)).toEqual(nothing);
      daysLater = 32;
      expect(await maintained(dataSource)).toEqual({ scopes: [rotation(1)], failures: [] });
    });

    it('cannot be by use, and says so', async () => {
      const dataSource = await filled([1], policies({ kind: 'useCount', maxUses: 5 }));
      expect(await maintained(dataSource)).toMatchObject({
        failures: [{ keyName: 'tenant', code: 'ERR_CONFIGURATION' }],
      });
    });

    it('leaves some for the next call where there are very many', async () => {
      const numbers = Array.from({ length: 2100 }, (_, n) => n);
      const dataSource = await filled(numbers, policies({ kind: 'periodic', everyDays: 30 }));
      daysLater = 31;
      expect(await maintained(dataSource)).toMatchObject({ scopes: [{ rotated: 2000 }] });
    });

    it('is not stopped by an edited date without a failure', async () => {
      const dataSource = await filled([1, 2, 3], policies({ kind: 'periodic', everyDays: 30 }));
      const edit = (n: number, since: string): Promise<unknown> =>
        dataSource.query(
          `UPDATE field_encryption_scope_keys SET since = '${since}' WHERE scope = '${tenant(n)}'`,
        );
      await edit(1, '2001-01-01T00:00:00.000Z');
      await edit(2, '2999-01-01T00:00:00.000Z');
      daysLater = 31;
      expect(await maintained(dataSource)).toMatchObject({
        scopes: [{ rotated: 1, failures: [{ code: 'ERR_KEY_UNWRAP', scopes: 2 }] }],
        failures: [{ keyName: 'tenant', code: 'ERR_KEY_UNWRAP' }],
      });
      // A date that is not due yet ends all use of the key.
      await edit(3, new Date(Date.now() - 1000).toISOString());
      const writer = await open();
      await expect(
        writer.manager.update(Person, { tenantId: tenant(3) }, { ssn: 'canary' }),
      ).rejects.toBeInstanceOf(KeyUnwrapError);
    });
  });
});

const WORKER = `
require('reflect-metadata');
const { Column, DataSource, Entity, PrimaryColumn } = require('typeorm');
const { Encrypted, KeyScope, fieldEncryption, localKms, withFieldEncryption } = require('typeorm-field-encryption');
class Person {}
const on = (name, ...decorators) => { for (const each of decorators) each(Person.prototype, name); };
on('id', PrimaryColumn('integer'));
on('tenantId', KeyScope({ kind: 'tenant' }), Column('varchar'));
on('ssn', Encrypted({ type: 'string' }));
Entity('person')(Person);
let pages = 0;
const logger = {
  logQuery: (sql) => {
    if (!/^UPDATE ["\x60]?field_encryption_scope_keys/.test(sql)) return;
    pages += 1;
    // The first page is committed, and the second one under way.
    if (pages === 2) process.kill(process.pid, 'SIGKILL');
  },
};
for (const name of ['logQueryError', 'logQuerySlow', 'logSchemaBuild', 'logMigration', 'log']) logger[name] = () => {};
(async () => {
  const dataSource = withFieldEncryption(
    new DataSource({ ...JSON.parse(process.env.DATABASE), entities: [Person], logger }),
    { kms: localKms({ keyFile: process.env.KEY_FILE })},
  );
  await dataSource.initialize();
  await fieldEncryption(dataSource).keys.rotateScopes({ kind: 'tenant', olderThanDays: Number(process.env.DAYS) });
  process.stdout.write('NOT KILLED');
})();
`;

describeDiagonal('A rotation of keys of scopes that is killed', (kind) => {
  const cleanup = new Cleanup();
  let project: Project;
  let keyFile: string;

  beforeAll(() => {
    project = createProject(typeormMajor);
    project.write('worker.js', WORKER);
    keyFile = project.write('kek', randomBytes(32).toString('hex'));
    chmodSync(keyFile, 0o600);
  });
  afterEach(() => cleanup.run());
  afterAll(() => {
    project.dispose();
  });

  it('goes on with the scopes that are left when it is repeated', async () => {
    const database = await cleanup.create(kind, { entities: [Person], synchronize: true });
    const kms = localKms({ keyFile });
    const dataSource = cleanup.add(await protect(database, { kms }).initialize());
    const numbers = Array.from({ length: 1200 }, (_, n) => n);
    for (const at of [0, 400, 800]) {
      await dataSource.manager.insert(Person, people(...numbers.slice(at, at + 400)));
    }
    const age = await ageOfPresentKeys();
    const killed = await project.spawn('node', ['worker.js'], {
      DATABASE: JSON.stringify(database.dataSourceOptions),
      KEY_FILE: keyFile,
      DAYS: String(age()),
    });
    expect(killed).toMatchObject({ stdout: '', stderr: '' });
    const after = Object.values(await versions(dataSource));
    expect(after.filter((version) => version === 2)).toHaveLength(500);
    expect(after).toHaveLength(1200);
    const { audit, keys } = fieldEncryption(dataSource);
    const again = (): Promise<ScopeRotation[]> =>
      keys.rotateScopes({ kind: 'tenant', olderThanDays: age() });
    expect(await again()).toEqual([rotation(700)]);
    expect(Object.values(await versions(dataSource))).toEqual(Array(1200).fill(2));
    expect(await again()).toEqual([rotation(0)]);
    expect(await audit.verify()).toMatchObject({ ok: true });
    expect(await fieldEncryption(dataSource).verify()).toMatchObject({ scanned: 1200, failed: 0 });
  });
});
