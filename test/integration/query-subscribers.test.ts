import { Entity, PrimaryColumn } from 'typeorm';
import type { DataSource, EntitySubscriberInterface } from 'typeorm';
import { BlindIndex, ConfigurationError, Encrypted, fieldEncryption } from '../../src';
import type { FieldEncryptionOptions } from '../../src';
import { installationOf } from '../../src/typeorm/installation/installations';
import { describeDiagonal, typeormMajor } from '../support/databases';
import { Cleanup, protect, rejection } from '../support/protected-database';

@Entity()
class Trace {
  @PrimaryColumn() id!: number;
  @Encrypted() @BlindIndex() text!: string;
}

describeDiagonal('A subscriber to statements that uses an encrypted entity', (kind) => {
  const cleanup = new Cleanup();
  afterEach(() => cleanup.run());
  let next: number;

  beforeEach(() => {
    next = 100;
  });

  /** An initialized DataSource without a key. */
  async function open(options: Partial<FieldEncryptionOptions> = {}): Promise<DataSource> {
    const database = await cleanup.create(kind, { entities: [Trace], synchronize: true });
    const ds = protect(database, options);
    installationOf(ds).preparesAtStart = false;
    return cleanup.add(await ds.initialize());
  }

  const write = (ds: DataSource): Promise<unknown> =>
    ds.getRepository(Trace).insert({ id: next++, text: 'canary' });

  function subscribe(ds: DataSource, subscriber: EntitySubscriberInterface): () => void {
    ds.subscribers.push(subscriber);
    return () => {
      ds.subscribers.splice(ds.subscribers.indexOf(subscriber), 1);
    };
  }

  const isOwn = (sql: string): boolean => /data_keys|field_encryption_audit/.test(sql);

  const [awaited, there] =
    typeormMajor === 0 && kind.name === 'better-sqlite3'
      ? [it.skip, ' (not here: nobody waits for it)']
      : [it, ''];
  /** TypeORM 0.3 waits for the other event on PostgreSQL only. */
  const waitedFor =
    typeormMajor === 0 && kind.type !== 'postgres'
      ? ['beforeQuery']
      : ['beforeQuery', 'afterQuery'];

  awaited.each(waitedFor)(
    `is refused in %s while the first keys are made, instead of waiting for itself${there}`,
    async (event) => {
      const ds = await open();
      const refusals: Error[] = [];
      const unsubscribe = subscribe(ds, {
        [event]: async ({ query }: { query: string }) => {
          if (isOwn(query)) refusals.push(await rejection(write(ds)));
        },
      });
      await write(ds);
      unsubscribe();
      expect(refusals.length).toBeGreaterThan(1);
      for (const refusal of refusals) {
        expect(refusal).toBeInstanceOf(ConfigurationError);
        expect(refusal.message).toContain('subscriber');
      }
      await write(ds);
      expect(await ds.getRepository(Trace).count()).toBe(2);
    },
  );

  awaited(`fails the loading with what it lets pass, and only that${there}`, async () => {
    const ds = await open();
    const unsubscribe = subscribe(ds, {
      beforeQuery: async ({ query, queryRunner }) => {
        if (isOwn(query)) await queryRunner.manager.insert(Trace, { id: 1, text: 'canary' });
      },
    });
    for (const use of [() => fieldEncryption(ds).ready(), () => write(ds)]) {
      expect(await rejection(use)).toMatchObject({ code: 'ERR_CONFIGURATION' });
    }
    unsubscribe();
    await fieldEncryption(ds).ready();
    await write(ds);
  });

  awaited(`is refused when it reads what is being loaded${there}`, async () => {
    const ds = await open();
    await write(ds);
    await installationOf(ds).keys.close();
    const unsubscribe = subscribe(ds, {
      beforeQuery: async ({ query }) => {
        if (isOwn(query)) await ds.getRepository(Trace).find();
      },
    });
    expect(await rejection(ds.getRepository(Trace).find())).toMatchObject({
      code: 'ERR_CONFIGURATION',
    });
    unsubscribe();
    expect(await ds.getRepository(Trace).find()).toMatchObject([{ text: 'canary' }]);
  });

  const [transactions, here] =
    kind.dialect === 'sqlite' ? [it.skip, ' (not here: nobody is told of them)'] : [it, ''];
  transactions(`is refused in the transaction that makes the first keys${here}`, async () => {
    const ds = await open();
    const refusals: Error[] = [];
    const subscribed = async (): Promise<void> => {
      if (refusals.length < 2) refusals.push(await rejection(write(ds)));
    };
    subscribe(ds, { beforeTransactionStart: subscribed, afterTransactionCommit: subscribed });
    await fieldEncryption(ds).ready();
    expect(refusals).toEqual([expect.any(ConfigurationError), expect.any(ConfigurationError)]);
  });

  it('may use it in statements of the loading where nobody waits for it', async () => {
    const ds = await open();
    const uses: Promise<unknown>[] = [];
    const unsubscribe = subscribe(ds, {
      beforeQuery: ({ query }) => {
        if (isOwn(query)) uses.push(write(ds), ds.getRepository(Trace).find());
      },
    });
    await write(ds);
    unsubscribe();
    await Promise.all(uses);
    expect(uses.length).toBeGreaterThan(2);
    expect(await ds.getRepository(Trace).count()).toBe(1 + uses.length / 2);
  });

  it('may use it in an event, which nobody waits for', async () => {
    const writes: Promise<unknown>[] = [];
    let isDone = false;
    const ds = await open({
      onEvent: ({ type }) => {
        if (type !== 'keyCreated' || isDone) return;
        isDone = true;
        writes.push(write(ds));
      },
    });
    await write(ds);
    await Promise.all(writes);
    expect(writes).toHaveLength(1);
    expect(await ds.getRepository(Trace).count()).toBe(2);
  });
});
