import { randomUUID } from 'node:crypto';
import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { DataSource } from 'typeorm';
import {
  BlindIndex,
  DecryptionError,
  Encrypted,
  ErasedError,
  fieldEncryption,
  FieldEncryptionError,
  KeyScope,
  KeyStateError,
} from '../../src';
import type { FieldEncryptionOptions } from '../../src';
import { describeDiagonal } from '../support/databases';
import type { CommonOptions, TestDatabase } from '../support/databases';
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

/** The same with values that are bound to their row, before and after. */
function boundEntities() {
  @Entity('letter')
  class Unbound {
    @PrimaryColumn('uuid') id: string = randomUUID();
    @Column() tenantId!: number;
    @Encrypted({ id: 'text' }) text!: string;
  }

  @Entity('letter')
  class Bound {
    @PrimaryColumn('uuid') id: string = randomUUID();
    @Column() tenantId!: number;
    @Encrypted({ id: 'text', bindTo: ['id'] }) text!: string;
  }

  @Entity('letter')
  class Letter {
    @PrimaryColumn('uuid') id: string = randomUUID();
    @KeyScope({ kind: 'tenant' }) @Column() tenantId!: number;
    @Encrypted({ id: 'text', bindTo: ['id'] }) text!: string;
  }
  return { Unbound, Bound, Letter };
}

const { Unbound, Bound, Letter } = boundEntities();

describeDiagonal('A column that gets keys of scopes and is bound to its row', (database) => {
  const cleanup = new Cleanup();
  afterEach(() => cleanup.run());

  const legacyScope = ['Letter.text'];

  it.each([
    ['was not bound before', Unbound],
    ['was bound before', Bound],
  ])('moves if it %s', async (_, before) => {
    const created = await cleanup.create(database, { entities: [before], synchronize: true });
    const open = async (
      entity: unknown,
      options: Partial<FieldEncryptionOptions>,
    ): Promise<DataSource> => {
      const overrides = { entities: [entity] } as CommonOptions;
      return cleanup.add(await protect(created, options, overrides).initialize());
    };
    const rows = [1, 2, 3].map((tenantId) => ({
      ...{ id: randomUUID(), tenantId, text: `canary ${String(tenantId)}` },
    }));
    await (await open(before, {})).manager.insert(before, rows);

    const online = await open(Letter, { legacyScope });
    const texts = async (of: DataSource): Promise<string[]> =>
      (await of.manager.find(Letter, { order: { tenantId: 'ASC' } })).map(({ text }) => text);
    expect(await texts(online)).toEqual(rows.map(({ text }) => text));
    expect(await fieldEncryption(online).reencrypt()).toMatchObject({ changed: 3, failed: 0 });
    const strict = await open(Letter, {});
    expect(await texts(strict)).toEqual(rows.map(({ text }) => text));
    // Bound to both: to the row and to the tenant.
    await strict.query(
      `UPDATE letter SET text = (SELECT text FROM letter WHERE id = '${rows[0]!.id}')
       WHERE id = '${rows[1]!.id}'`,
    );
    await expect(texts(strict)).rejects.toBeInstanceOf(FieldEncryptionError);
  });
});

describeDiagonal('A column that gets keys of scopes', (database) => {
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
    const error: unknown = await (await open({})).manager.find(After).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(DecryptionError);
    expect((error as Error).message).toContain('list the property in `legacyScope`');

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

  it('is not erased before its values have moved', async () => {
    const online = await open(LEGACY);
    await online.manager.insert(After, { id: randomUUID(), tenantId: 1, ssn: 'canary new' });
    const { keys } = fieldEncryption(online);
    const request = { scope: { tenant: 1 }, reason: 'request 1', graceMs: 0 };
    const error: unknown = await keys.shred(request).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(KeyStateError);
    expect((error as Error).message).toMatch(
      /^After\.ssn: 40 rows hold values under a common key.*data reencrypt/,
    );
    // Nothing was requested: values of the scope can still be written, and so moved.
    expect(await fieldEncryption(online).reencrypt()).toMatchObject({ changed: ROWS, failed: 0 });
    const erasure = await keys.shred(request);
    expect(erasure).toMatchObject({ receipt: { columns: [{ property: 'ssn', rows: 9 }] } });
    await expect(online.manager.findBy(After, { tenantId: 1 })).rejects.toBeInstanceOf(ErasedError);
    expect(await online.manager.findBy(After, { tenantId: 2 })).toHaveLength(8);
  });

  it.each([
    ['legacyScope', ['After.snn'], 'with keys of scopes'],
    ['legacyScope', ['After.tenantId'], 'with keys of scopes'],
    ['legacyUnbound', ['After.snn'], 'with bindTo'],
  ])('is named as it is: %s %p', async (option, names, which) => {
    await expect(open({ [option]: names })).rejects.toThrow(
      `${option} names "${names[0]!}", which is not an encrypted property ${which}`,
    );
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
