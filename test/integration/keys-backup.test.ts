import { randomBytes } from 'node:crypto';
import { Entity, PrimaryColumn } from 'typeorm';
import type { DataSource } from 'typeorm';
import { BlindIndex, Encrypted, fieldEncryption, localKms } from '../../src';
import { fastLocalKms } from '../support/key-fixtures';
import { openKms, softHsm } from '../support/pkcs11-modules';
import { describeDiagonal } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { Cleanup, protect } from '../support/protected-database';

@Entity()
class Note {
  @PrimaryColumn() id!: number;
  @Encrypted() @BlindIndex() text!: string;
  @Encrypted({ type: 'bytes', storage: 'binary', nullable: true }) scan!: Buffer | null;
}

const onSoftHsm: (title: string, work: () => Promise<void>) => void =
  softHsm.missing === undefined
    ? it
    : (title) => {
        it.skip(`${title} (not here: ${softHsm.missing ?? ''})`, () => undefined);
      };

describeDiagonal('The whole life of a key', (kind) => {
  const cleanup = new Cleanup();
  let database: TestDatabase;
  let dataSource: DataSource;

  beforeEach(async () => {
    database = await cleanup.create(kind, { entities: [Note], synchronize: true, poolSize: 1 });
    const kms = fastLocalKms('the passphrase of the first days');
    dataSource = cleanup.add(protect(database, { kms, keyCache: { ttlMs: 1, maxAgeMs: 60_000 } }));
    await dataSource.initialize();
    await write(1);
  });
  afterEach(() => cleanup.run());

  async function write(id: number): Promise<void> {
    const scan = id % 2 === 0 ? null : Buffer.from(`canary ${String(id)}`);
    await dataSource.getRepository(Note).insert({ id, text: `canary ${String(id)}`, scan });
  }

  async function expectReads(source: DataSource, ids: readonly number[]): Promise<void> {
    const notes = source.getRepository(Note);
    for (const id of ids) {
      const text = `canary ${String(id)}`;
      const scan = id % 2 === 0 ? null : Buffer.from(text);
      expect(await notes.findOneBy({ text })).toEqual({ id, text, scan });
    }
  }

  onSoftHsm(
    'reads after rotation, a new passphrase, a move to an HSM, backup, loss of the key table and restore',
    async () => {
      const { keys } = fieldEncryption(dataSource);
      await keys.rotate();
      await write(2);
      const next = fastLocalKms('the passphrase of the second year');
      expect(await keys.rewrap({ to: next })).toMatchObject({ rewrapped: 4, failures: [] });
      await keys.rotate();
      await write(3);
      await expectReads(dataSource, [1, 2, 3]);

      await softHsm.start();
      const token = { ...softHsm.token(), keyLabel: 'clinic', createKey: true, sessions: 1 };
      expect(await keys.rewrap({ to: openKms(token) })).toMatchObject({
        kms: 'pkcs11',
        rewrapped: 5,
        failures: [],
      });
      await write(4);
      await expectReads(dataSource, [1, 2, 3, 4]);

      const { file, shares } = await keys.backup({ shares: 3, threshold: 2 });
      const opener = { shares: shares.slice(1) };
      const { ok, restored, results } = await keys.drill(file, opener);
      expect([ok, restored.length]).toEqual([true, 5]);
      expect(
        results.map(({ property, rows, read, tokens }) => [property, rows, read, tokens]).sort(),
      ).toEqual([
        ['scan', 1, 1, 0],
        ['scan', 1, 1, 0],
        ['text', 1, 1, 1],
        ['text', 1, 1, 1],
        ['text', 2, 2, 2],
      ]);
      await dataSource.query('DELETE FROM data_keys');

      expect((await keys.restore(file, opener)).restored).toHaveLength(5);
      await dataSource.destroy();
      const after = cleanup.add(protect(database, { kms: openKms(token) }, { synchronize: false }));
      await after.initialize();
      await expectReads(after, [1, 2, 3, 4]);
      const listed = await fieldEncryption(after).keys.list();
      expect(listed.map((key) => [key.version, key.state, key.kms])).toEqual([
        [1, 'deactivated', 'pkcs11'],
        [2, 'deactivated', 'pkcs11'],
        [3, 'active', 'pkcs11'],
      ]);
    },
  );

  it('says which rows a backup does not read, and changes nothing by trying', async () => {
    const { keys } = fieldEncryption(dataSource);
    const kms = fastLocalKms('the passphrase of the backup');
    const { file } = await keys.backup({ kms });
    const { id } = await keys.rotate();
    await write(2);
    // How often keys were used is added in the background.
    const rows =
      'SELECT id, version, state, epoch, wrapped_key, state_mac FROM data_keys ORDER BY id';
    const before: unknown = await dataSource.query(rows);

    await dataSource.query(`UPDATE note SET text_bidx = 'x' WHERE id = 1`);

    const report = await keys.drill(file, { kms });

    expect(report.ok).toBe(false);
    expect(report.results.filter(({ wrongTokens }) => wrongTokens > 0)).toMatchObject([
      { property: 'text', read: 1, tokens: 0, wrongTokens: 1, failure: null },
    ]);
    expect(report.results.filter(({ failure }) => failure !== null)).toMatchObject([
      { property: 'text', keyId: id, rows: 1, read: 0, failure: 'ERR_KEY_NOT_FOUND' },
    ]);
    expect(await dataSource.query(rows)).toEqual(before);

    const { audit } = fieldEncryption(dataSource);
    const { backupId } = report;
    expect((await audit.list({ limit: 1 })).at(0)).toMatchObject({
      ...{ operation: 'drill', outcome: 'failed', reference: backupId },
      counts: { keys: 3, ms: expect.any(Number) },
    });
    const { file: next } = await keys.backup({ kms });
    await dataSource.query('UPDATE note SET text_bidx = NULL WHERE id = 1');
    expect(await keys.drill(next, { kms })).toMatchObject({ ok: true });
    expect(await audit.list({ limit: 1 })).toMatchObject([{ operation: 'drill', outcome: 'done' }]);
  });

  it('is maintained by a schedule that ends with the DataSource', async () => {
    const policies = { '*': { rotation: { kind: 'periodic', everyDays: 1 } } } as const;
    let now = Date.now();
    const kms = fastLocalKms('the passphrase of the first days');
    const scheduled = cleanup.add(
      protect(
        database,
        {
          kms,
          keyPolicies: policies,
          now: () => new Date(now),
          keyCache: { ttlMs: 1000, maxAgeMs: 60_000 },
        },
        { synchronize: false },
      ),
    );
    await scheduled.initialize();
    const { keys } = fieldEncryption(scheduled);
    const seen: string[] = [];
    now += 86_400_000;
    await new Promise<void>((resolve, reject) => {
      keys.scheduleMaintenance({
        everyMs: 1,
        onError: reject,
        onReport: ({ announced, activated }) => {
          for (const key of announced) seen.push(`announced v${String(key.version)}`);
          for (const key of activated) seen.push(`activated v${String(key.version)}`);
          if (activated.length > 0) resolve();
          if (announced.length > 0) now += 2000;
        },
      });
    });
    await scheduled.destroy();
    expect(seen).toEqual(['announced v2', 'activated v2']);
    await write(2);
    await expectReads(dataSource, [1, 2]);
  });

  it.each([
    ['rotation', { rotation: { kind: 'hourly' } }],
    ['retention', { retention: { kind: 'lastVersions', count: 0 } }],
    ['option', { ownr: 'me' }],
  ])('does not begin under a wrong %s policy', (_, policy) => {
    const keyPolicies = { default: policy } as never;
    const kms = localKms({ passphrase: randomBytes(16).toString('hex') });
    expect(() => protect(database, { kms, keyPolicies })).toThrow(
      expect.objectContaining({
        code: 'ERR_CONFIGURATION',
        message: expect.stringContaining('keyPolicies.default'),
      }),
    );
  });
});
