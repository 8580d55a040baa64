import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { DataSource, EntityManager } from 'typeorm';
import { Encrypted, KeyScope, Sealed, UnsupportedValueError } from '../../src';
import type { RevealMessage, RevealOptions } from '../../src';
import { describeEachDatabase } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { Cleanup, protect, rejection } from '../support/protected-database';

/** A primary key as an object, as some applications have theirs. */
class CaseNumber {
  constructor(readonly text: string) {}
}

const asCaseNumber = {
  to: (value: unknown): unknown => (value instanceof CaseNumber ? value.text : value),
  from: (stored: string | null): unknown => (stored === null ? null : new CaseNumber(stored)),
};

@Entity()
class Letter {
  @PrimaryColumn({ type: 'varchar', transformer: asCaseNumber }) id!: CaseNumber;
  @KeyScope({ kind: 'tenant' }) @Column() tenantId!: string;
  @Encrypted({ read: 'sealed', type: 'string' }) text!: Sealed<string> | string;
}

const CHANNEL = 'typeorm-field-encryption:reveal';
const POOL = 2;

const reveal = (text: Letter['text'] | undefined, options?: RevealOptions): Promise<string> => {
  if (!(text instanceof Sealed)) throw new Error('not sealed');
  return text.reveal(options);
};

describeEachDatabase('A sealed value', (kind) => {
  const cleanup = new Cleanup();
  let database: TestDatabase;
  let dataSource: DataSource;

  /** A process that has no keys of tenants in memory, with as many connections as transactions. */
  async function start(): Promise<DataSource> {
    return cleanup.add(protect(database)).initialize();
  }

  beforeEach(async () => {
    const options = { entities: [Letter], synchronize: true, poolSize: POOL };
    database = await cleanup.create(kind, options);
    dataSource = await start();
    await dataSource
      .getRepository(Letter)
      .insert(
        ['1', '2'].map((id) => ({ id: new CaseNumber(id), tenantId: id, text: `canary ${id}` })),
      );
    dataSource = await start();
  });
  afterEach(() => cleanup.run());

  const letters = (manager: EntityManager = dataSource.manager): Promise<Letter[]> =>
    manager.find(Letter, { order: { tenantId: 'ASC' } });

  it('tells rows apart by primary keys that are objects of the application', async () => {
    const revealed: RevealMessage[] = [];
    const listener = (message: unknown): void => void revealed.push(message as RevealMessage);
    subscribe(CHANNEL, listener);
    const [one, other] = (await letters()) as [Letter, Letter];
    await reveal(other.text);
    unsubscribe(CHANNEL, listener);
    expect(revealed.map(({ primaryKey }) => primaryKey)).toEqual([['2']]);
    one.text = other.text;
    const error = await rejection(() => dataSource.manager.save(one));
    expect(error).toBeInstanceOf(UnsupportedValueError);
    await dataSource.manager.save(await letters());
    expect(await reveal((await letters())[0]?.text)).toBe('canary 1');
  });

  if (kind.dialect === 'sqlite') return;

  /** Runs as many transactions at once as there are connections. */
  const inAll = <T>(work: (manager: EntityManager) => Promise<T>): Promise<T[]> =>
    Promise.all(Array.from({ length: POOL }, () => dataSource.transaction(work)));

  it('gets its key on the connection of the transaction that has read it', async () => {
    const texts = await inAll(async (manager) => reveal((await letters(manager))[0]?.text));
    expect(texts).toEqual(['canary 1', 'canary 1']);
  });

  it('gets its key on the connection of the transaction that is given', async () => {
    const [letter] = await letters();
    const texts = await inAll((manager) => reveal(letter?.text, { manager }));
    expect(texts).toEqual(['canary 1', 'canary 1']);
  });

  it('fails rather than wait forever for a pool that transactions have exhausted', async () => {
    const [letter] = await letters();
    jest.useFakeTimers({ doNotFake: ['setImmediate', 'nextTick', 'queueMicrotask', 'Date'] });
    try {
      const state = { isDone: false };
      const work = rejection(() => inAll(() => reveal(letter?.text))).finally(() => {
        state.isDone = true;
      });
      while (!state.isDone) {
        await jest.advanceTimersByTimeAsync(1000);
        await nextTurn();
      }
      const error = await work;
      expect(error).toMatchObject({ code: 'ERR_KEY_STATE', retryable: true });
      expect(error.message).toContain('reveal({ manager })');
    } finally {
      jest.useRealTimers();
    }
    expect(await reveal(letter?.text)).toBe('canary 1');
    expect(await inAll((manager) => manager.count(Letter))).toEqual([2, 2]);
  });
});
