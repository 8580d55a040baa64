import { randomUUID } from 'node:crypto';
import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { DataSource } from 'typeorm';
import { BlindIndex, DecryptionError, Encrypted, fieldEncryption, KeyScope } from '../../src';
import type { FieldEncryptionOptions } from '../../src';
import { describeEachDatabase } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { Cleanup, protect } from '../support/protected-database';

const ROWS = 40;

/** The entity as it was, and as it is once its values have keys of tenants. */
function entities() {
  @Entity('patient')
  class Before {
    @PrimaryColumn('uuid') id: string = randomUUID();
    @Column() tenantId!: number;
    @Encrypted({ id: 'ssn' }) @BlindIndex() ssn!: string;
  }

  @Entity('patient')
  class After {
    @PrimaryColumn('uuid') id: string = randomUUID();
    @KeyScope({ kind: 'tenant' }) @Column() tenantId!: number;
    @Encrypted({ id: 'ssn' }) @BlindIndex() ssn!: string;
  }
  return { Before, After };
}

const { Before, After } = entities();

describeEachDatabase('A column that gets keys of scopes', (database) => {
  const cleanup = new Cleanup();
  let created: TestDatabase;
  let before: DataSource;
  afterEach(() => cleanup.run());

  beforeEach(async () => {
    created = await cleanup.create(database, { entities: [Before], synchronize: true });
    before = cleanup.add(await protect(created).initialize());
    await before.manager.insert(
      Before,
      Array.from({ length: ROWS }, (_, i) => ({
        ...{ id: randomUUID(), tenantId: i % 5, ssn: `canary ${String(i)}` },
      })),
    );
  });

  async function open(options: Partial<FieldEncryptionOptions>): Promise<DataSource> {
    const overrides = { entities: [After], synchronize: true };
    return cleanup.add(await protect(created, options, overrides).initialize());
  }

  const LEGACY = { legacyScope: ['After.ssn'] };

  async function values(dataSource: DataSource): Promise<string[]> {
    return (await dataSource.manager.find(After)).map(({ ssn }) => ssn).sort();
  }

  it('is read while it moves, and by keys of scopes alone afterwards', async () => {
    const all = Array.from({ length: ROWS }, (_, i) => `canary ${String(i)}`).sort();
    const online = await open(LEGACY);
    expect(await values(online)).toEqual(all);
    await online.manager.insert(After, { id: randomUUID(), tenantId: 1, ssn: 'canary new' });
    await expect((await open({})).manager.find(After)).rejects.toBeInstanceOf(DecryptionError);

    const encryption = fieldEncryption(online);
    const started = new AbortController();
    const stopped = await encryption
      .reencrypt({
        batchSize: 5,
        signal: started.signal,
        onProgress: () => {
          started.abort();
        },
      })
      .catch((error: unknown) => error);
    expect(stopped).toBeDefined();
    expect(await values(online)).toEqual([...all, 'canary new'].sort());

    // Another process goes on.
    const other = fieldEncryption(await open(LEGACY));
    expect(await other.reencrypt()).toMatchObject({ failed: 0 });
    expect(await other.reindex()).toMatchObject({ failed: 0 });
    expect(await other.reencrypt()).toMatchObject({ changed: 0, failed: 0 });
    const strict = await open({});
    expect(await values(strict)).toEqual([...all, 'canary new'].sort());
    expect(await fieldEncryption(strict).verify()).toMatchObject({
      ...{ scanned: ROWS + 1, failed: 0 },
    });
    expect(await strict.manager.findBy(After, { tenantId: 2, ssn: 'canary 7' })).toMatchObject([
      { tenantId: 2 },
    ]);
  });

  it('takes no old value again once all have moved', async () => {
    const [old] = await before.query<[{ id: string; ssn: string }]>(
      'SELECT id, ssn FROM patient LIMIT 1',
    );
    await fieldEncryption(await open(LEGACY)).reencrypt();
    const strict = await open({});
    await strict.query(`UPDATE patient SET ssn = '${old.ssn}' WHERE id = '${old.id}'`);
    await expect(strict.manager.findOneBy(After, { id: old.id })).rejects.toBeInstanceOf(
      DecryptionError,
    );
  });
});
