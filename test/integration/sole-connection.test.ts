import { setImmediate as nextTurn, setTimeout as delay } from 'node:timers/promises';
import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { DataSource, EntitySubscriberInterface } from 'typeorm';
import { BlindIndex, Encrypted, fieldEncryption } from '../../src';
import type { FieldEncryptionOptions } from '../../src';
import { describeDiagonal } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { Cleanup, protect, rejection } from '../support/protected-database';
import { sqlOf } from '../support/sql-of';

@Entity()
class Person {
  @PrimaryColumn() id!: number;
  @Encrypted() @BlindIndex({ unique: true, normalize: 'email' }) email!: string;
}

@Entity()
class Order {
  @PrimaryColumn() id!: number;
  @Column() text!: string;
}

type Moment = readonly [microtasks: number, turns: number];

/** Moments at which something else begins: microtasks, then turns of the event loop. */
const MOMENTS: readonly Moment[] = [
  ...Array.from({ length: 40 }, (_, microtasks) => [microtasks, 0] as const),
  ...Array.from({ length: 8 }, (_, turns) => [turns, turns + 1] as const),
];

async function until([microtasks, turns]: Moment): Promise<void> {
  for (let turn = 0; turn < turns; turn += 1) await nextTurn();
  for (let tick = 0; tick < microtasks; tick += 1) await Promise.resolve();
}

const TRANSITION = { legacyPlaintext: ['Person.email'] };

describeDiagonal("The library's own transactions", (kind) => {
  const cleanup = new Cleanup();
  let database: TestDatabase;

  beforeEach(async () => {
    database = await cleanup.create(kind, { entities: [Person, Order], synchronize: true });
  });
  afterEach(() => cleanup.run());

  async function open(options: Partial<FieldEncryptionOptions> = {}): Promise<DataSource> {
    const dataSource = await cleanup.add(protect(database, options)).initialize();
    if (kind.dialect === 'sqlite') await dataSource.query('PRAGMA synchronous = OFF');
    return dataSource;
  }

  /** A DataSource whose rotations begin a transaction and are refused at its end. */
  async function refusing(): Promise<DataSource> {
    let isDown = false;
    const dataSource = await open({
      audit: {
        sink: async () => {
          await nextTurn();
          if (isDown) throw new Error('the sink is away');
        },
      },
    });
    await fieldEncryption(dataSource).ready();
    isDown = true;
    return dataSource;
  }

  function subscribe(dataSource: DataSource, subscriber: EntitySubscriberInterface): void {
    dataSource.subscribers.push(subscriber);
  }

  /** Has `write` begin at every moment of `refused`, which has to reject; answers the ids written. */
  async function besides(
    refused: () => Promise<unknown>,
    write: (id: number) => Promise<unknown>,
  ): Promise<number[]> {
    const written: number[] = [];
    for (const [at, moment] of MOMENTS.entries()) {
      const refusal = rejection(refused());
      await until(moment);
      const ids = [3 * at + 1, 3 * at + 2, 3 * at + 3];
      await Promise.all(ids.map(write));
      written.push(...ids);
      await refusal;
    }
    return written;
  }

  async function stored(dataSource: DataSource): Promise<number[]> {
    const orders = await dataSource.getRepository(Order).find({ order: { id: 'ASC' } });
    return orders.map(({ id }) => id);
  }

  it('take no write along when a duplicate is refused during a transition', async () => {
    const dataSource = await open(TRANSITION);
    const people = dataSource.getRepository(Person);
    await people.insert({ id: 1, email: 'ada@x.org' });
    const written = await besides(
      () => people.insert({ id: 2, email: 'ada@x.org' }),
      (id) => dataSource.getRepository(Order).insert({ id, text: 'order' }),
    );
    expect(await stored(dataSource)).toEqual(written);
    expect(await people.count()).toBe(1);
  });

  it('take no write along when a rotation is refused', async () => {
    const dataSource = await refusing();
    const written = await besides(
      () => fieldEncryption(dataSource).keys.rotate(),
      (id) =>
        dataSource.query(
          sqlOf(kind, `INSERT INTO "order" (id, text) VALUES (${String(id)}, 'order')`),
        ),
    );
    expect(await stored(dataSource)).toEqual(written);
    expect(await fieldEncryption(dataSource).keys.list()).toHaveLength(1);
  });

  it('are joined by no save and no transaction, which wait and go on', async () => {
    const dataSource = await refusing();
    const { keys } = fieldEncryption(dataSource);
    for (const [at, moment] of MOMENTS.entries()) {
      const rotation = rejection(keys.rotate());
      await until(moment);
      if (at % 2 === 0) await dataSource.getRepository(Order).save({ id: at, text: 'saved' });
      else {
        await dataSource.transaction(async (manager) => {
          await manager.insert(Order, { id: at, text: 'one' });
          await manager.update(Order, { id: at }, { text: 'two' });
        });
      }
      await rotation;
    }
    expect(await stored(dataSource)).toEqual(MOMENTS.map((_, at) => at));
    expect(await keys.list()).toHaveLength(1);
  });

  it('leave the save of many at once as it was', async () => {
    const dataSource = await open(TRANSITION);
    await dataSource.getRepository(Person).insert({ id: 1, email: 'ada@x.org' });
    const ids = Array.from({ length: 20 }, (_, id) => id);
    const [refusal] = await Promise.all([
      rejection(dataSource.getRepository(Person).insert({ id: 2, email: 'ada@x.org' })),
      ...ids.map((id) => dataSource.getRepository(Order).save({ id, text: 'order' })),
    ]);
    expect(refusal.message).toMatch(/unique|duplicate entry/i);
    expect(await stored(dataSource)).toEqual(ids);
  });

  it('keep unique what is written at once', async () => {
    const dataSource = await open(TRANSITION);
    const people = dataSource.getRepository(Person);
    const emails = Array.from({ length: 30 }, (_, id) => `p${String(id % 10)}@x.org`);
    const outcomes = await Promise.allSettled(
      emails.map((email, id) => people.insert({ id, email })),
    );
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(10);
    expect(await people.count()).toBe(10);
  });

  it('wait for nobody who waits for them', async () => {
    const dataSource = await open({
      ...TRANSITION,
      audit: {
        sink: async ({ seq }) => {
          await dataSource.getRepository(Order).save({ id: seq, text: 'entry' });
          await dataSource.transaction((manager) =>
            manager.update(Order, { id: seq }, { text: 'entry, confirmed' }),
          );
        },
      },
    });
    const count = async (): Promise<void> => {
      await dataSource.getRepository(Order).count();
    };
    let isCounting = false;
    const countOnce = async (): Promise<void> => {
      if (isCounting) return;
      isCounting = true;
      await count();
      isCounting = false;
    };
    subscribe(dataSource, {
      beforeTransactionStart: count,
      afterTransactionStart: count,
      beforeTransactionCommit: count,
      afterTransactionCommit: count,
      beforeTransactionRollback: count,
      afterTransactionRollback: count,
      afterInsert: count,
      beforeQuery: countOnce,
      afterQuery: countOnce,
    });
    const people = dataSource.getRepository(Person);
    await people.insert({ id: 1, email: 'ada@x.org' });
    await Promise.all([
      fieldEncryption(dataSource).keys.rotate(),
      rejection(people.insert({ id: 2, email: 'ada@x.org' })),
      people.insert({ id: 3, email: 'bob@x.org' }),
      ...Array.from({ length: 5 }, () => dataSource.getRepository(Order).find()),
    ]);
    const entries = await fieldEncryption(dataSource).audit.list();
    expect(await stored(dataSource)).toEqual(entries.map(({ seq }) => seq));
    expect(await people.count()).toBe(2);
  });

  it('hold no listener: what it does after the statement stands by itself', async () => {
    const dataSource = await open(TRANSITION);
    subscribe(dataSource, {
      afterInsert: ({ metadata }) => {
        if (metadata.name === 'Person') throw new Error('listener');
      },
    });
    const people = dataSource.getRepository(Person);
    const error = await rejection(people.insert({ id: 1, email: 'ada@x.org' }));
    expect(error.message).toBe('listener');
    // As everywhere in TypeORM, where an INSERT is no part of a transaction.
    expect(await people.count()).toBe(1);
  });

  it('let statements that are under way end first, for as long as they take', async () => {
    const dataSource = await open(TRANSITION);
    let isSlow = true;
    subscribe(dataSource, {
      beforeQuery: async ({ query }) => {
        if (isSlow && query.includes('slowly')) await delay(500);
      },
    });
    const people = dataSource.getRepository(Person);
    await people.insert({ id: 1, email: 'ada@x.org' });
    const slow = dataSource.query(
      sqlOf(kind, `INSERT INTO "order" (id, text) VALUES (1, 'slowly')`),
    );
    await rejection(people.insert({ id: 2, email: 'ada@x.org' }));
    await slow;
    isSlow = false;
    expect(await stored(dataSource)).toEqual([1]);
  });

  it('begin afresh with a DataSource that is initialized again', async () => {
    const dataSource = await open(TRANSITION);
    await dataSource.getRepository(Person).insert({ id: 1, email: 'ada@x.org' });
    await dataSource.destroy();
    await dataSource.initialize();
    const written = await besides(
      () => dataSource.getRepository(Person).insert({ id: 2, email: 'ada@x.org' }),
      (id) => dataSource.getRepository(Order).insert({ id, text: 'order' }),
    );
    expect(await stored(dataSource)).toEqual(written);
    await fieldEncryption(dataSource).keys.rotate();
  });
});
