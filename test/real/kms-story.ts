import { PrimaryColumn, Entity } from 'typeorm';
import type { DataSource } from 'typeorm';

import { BlindIndex, Encrypted, fieldEncryption } from '../../src';
import type { FieldEncryptionError, KmsProvider } from '../../src';
import { DATABASES } from '../support/databases';
import { eventually } from '../support/eventually';
import { Cleanup, protect, rejection } from '../support/protected-database';

@Entity()
class Patient {
  @PrimaryColumn() id!: number;
  @Encrypted() @BlindIndex({ unique: true }) email!: string;
}

const ROWS = 300;
const KEY_CACHE = { ttlMs: 1, maxAgeMs: 1000 };

/** A key service, and what an operator or a failure does to it. */
export interface KeyService {
  /** A provider of this service. Its limits are short: an outage must not make a test wait. */
  readonly open: () => KmsProvider;
  /** Makes a new version of the KEK the one that wraps. */
  readonly rotateKek: () => Promise<void>;
  /** Takes the right to use the KEK away from whoever has it now. */
  readonly revokeAccess: () => Promise<void>;
  readonly grantAccess: () => Promise<void>;
  /** Ends the service, or cuts it off. */
  readonly cutOff: () => Promise<void>;
  readonly bringBack: () => Promise<void>;
  /** Whether a rotation leaves its mark on `kek`. */
  readonly namesVersions: boolean;
}

/** What an application goes through with a key service, from its first key on. */
export function kmsStory(start: () => Promise<KeyService>): void {
  const cleanup = new Cleanup();
  let service: KeyService;
  let dataSource: DataSource;

  beforeAll(async () => {
    service = await start();
    const sqlite = DATABASES.find(({ type }) => type === 'better-sqlite3');
    if (sqlite === undefined) throw new Error('there is no SQLite');
    const database = await cleanup.create(sqlite, { entities: [Patient], synchronize: true });
    dataSource = cleanup.add(
      protect(database, { kms: service.open(), keyCache: KEY_CACHE, application: 'clinic' }),
    );
    await dataSource.initialize();
  });
  afterAll(() => cleanup.run());

  const patients = () => dataSource.getRepository(Patient);
  const keys = () => fieldEncryption(dataSource).keys;
  const activeKek = async () => (await keys().list()).find(({ state }) => state === 'active')?.kek;

  /** Lets the keys in memory grow older than they may, and a failure than it is remembered. */
  const forget = () => new Promise((resolve) => setTimeout(resolve, KEY_CACHE.maxAgeMs + 100));

  async function expectToWork(): Promise<void> {
    await forget();
    const found = await eventually(() => patients().findOneBy({ email: 'p7@example.org' }));
    expect(found).toMatchObject({ id: 7 });
    const report = await eventually(() => fieldEncryption(dataSource).verify());
    expect(report).toMatchObject({ failed: 0 });
  }

  it('makes its first keys and writes', async () => {
    const rows = Array.from({ length: ROWS }, (_, id) => ({
      id,
      email: `p${String(id)}@example.org`,
    }));
    await eventually(() => patients().insert(rows));
    await expectToWork();
  });

  it('goes on after the KEK was rotated, and rewraps under its new version', async () => {
    const before = await activeKek();
    await service.rotateKek();
    await expectToWork();
    const { failures } = await eventually(() => keys().rewrap({ force: !service.namesVersions }));
    expect(failures).toEqual([]);
    if (service.namesVersions) expect(await activeKek()).not.toBe(before);
    await expectToWork();
  });

  it('fails with a typed error while access is revoked, and goes on when it is granted again', async () => {
    await expectToWork();
    await service.revokeAccess();
    await forget();
    const error = await rejection(patients().findOneBy({ email: 'p7@example.org' }));
    expect((error as FieldEncryptionError).code).toMatch(/^ERR_/);
    expect(await fieldEncryption(dataSource).health()).toMatchObject({
      ...{ ok: false, status: 'failing', tables: { ok: true } },
      keys: [{ name: 'default', usableForMs: 0 }, { purpose: 'index' }],
    });
    await service.grantAccess();
    await expectToWork();
  });

  it('re-encrypts through an outage: what was done is kept, and the rest is done afterwards', async () => {
    await eventually(() => keys().rotate());
    const encryption = fieldEncryption(dataSource);
    let outage: Promise<void> | undefined;
    const interrupted = encryption.reencrypt({
      batchSize: 20,
      onProgress: () => {
        outage ??= service.cutOff();
      },
    });
    // Keys in memory may serve to its end, or may not.
    await interrupted.catch((error: unknown) => {
      expect(error).toMatchObject({ retryable: true });
    });
    await outage;
    await forget();
    const error = await rejection(patients().findOneBy({ email: 'p7@example.org' }));
    expect(error).toMatchObject({ code: 'ERR_KMS_UNAVAILABLE', retryable: true });

    const cutOff = await fieldEncryption(dataSource).health({ rememberMs: 0 });
    expect(cutOff).toMatchObject({ ok: false, kms: { ok: false, reachable: false } });

    await service.bringBack();
    await forget();
    // Nothing but the probe asks: it loads what the process needs.
    const back = await fieldEncryption(dataSource).health({ rememberMs: 0, timeoutMs: 30_000 });
    expect(back).toMatchObject({ kms: { ok: true, reachable: true } });
    await eventually(() => encryption.reencrypt({ batchSize: 20 }));
    await expectToWork();
    const [column] = await encryption.status();
    expect(column).toMatchObject({ rows: ROWS, cleartextRows: 0 });
  });
}
