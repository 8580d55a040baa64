import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { DataSource, Repository } from 'typeorm';
import {
  BlindIndex,
  ConfigurationError,
  Encrypted,
  fieldEncryption,
  RateLimitedError,
  runAs,
  Sealed,
  UnsupportedValueError,
} from '../../src';
import type { Actor, GuardMessage, GuardOptions } from '../../src';
import { describeDiagonal } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { Cleanup, protect, rejection } from '../support/protected-database';

@Entity()
class Patient {
  @PrimaryColumn() id!: number;
  @Column() ward!: string;
  @Encrypted({ check: false }) @BlindIndex() ssn!: string;
  @Encrypted({ read: 'sealed', type: 'string' }) note!: Sealed<string> | string;
}

const CHANNEL = 'typeorm-field-encryption:guard';
const ROWS = 20;
/** A window that does not end in a test. */
const HOUR = { windowMs: 3_600_000 };

describeDiagonal('The guard', (kind) => {
  const cleanup = new Cleanup();
  let database: TestDatabase;
  let dataSource: DataSource;
  let told: GuardMessage[];
  const listener = (message: unknown): void => {
    told.push(message as GuardMessage);
  };

  const connect = async (guard: GuardOptions): Promise<DataSource> =>
    cleanup.add(protect(database, { guard })).initialize();

  beforeEach(async () => {
    told = [];
    subscribe(CHANNEL, listener);
    database = await cleanup.create(kind, { entities: [Patient], synchronize: true });
    dataSource = await connect({});
    await patients().insert(Array.from({ length: ROWS }, (_, i) => patient(i + 1)));
  });
  afterEach(async () => {
    unsubscribe(CHANNEL, listener);
    for (const { source, ...message } of told) {
      expect(source).toBeInstanceOf(Object);
      expect(JSON.stringify(message)).not.toContain('canary');
    }
    await cleanup.run();
  });

  const patients = (): Repository<Patient> => dataSource.getRepository(Patient);
  const patient = (id: number): Patient =>
    patients().create({ id, ward: 'A', ssn: `canary-${String(id)}`, note: 'canary' });
  const as = <T>(id: string, work: () => Promise<T>): Promise<T> => runAs({ id }, work);
  const read = (most: number): Promise<Patient[]> => patients().find({ take: most });
  const levels = (): unknown[] => told.map(({ level, subject, actor }) => [level, subject, actor]);

  async function reveal(id: number): Promise<string> {
    const { note } = await patients().findOneByOrFail({ id });
    if (!(note instanceof Sealed)) throw new Error('not sealed');
    return note.reveal();
  }

  /** Flips a bit in the middle of stored values. */
  async function damage(...ids: readonly number[]): Promise<void> {
    for (const id of ids) {
      const [row] = await dataSource.query<{ ssn: string }[]>(
        `SELECT ssn FROM patient WHERE id = ${String(id)}`,
      );
      const bytes = Buffer.from(row?.ssn ?? '', 'base64url');
      bytes[40] = (bytes[40] ?? 0) ^ 1;
      await dataSource.query(
        `UPDATE patient SET ssn = '${bytes.toString('base64url')}' WHERE id = ${String(id)}`,
      );
    }
  }

  it('tells once near a limit, above it, and far above it, and lets everything through', async () => {
    dataSource = await connect({ reads: { values: 10, ...HOUR } });
    await as('ada', () => read(7));
    expect(told).toEqual([]);
    await as('ada', () => read(2));
    await as('ada', () => read(1));
    await as('ada', () => read(1));
    await as('ada', () => read(1));
    for (let i = 0; i < 5; i += 1) expect(await as('ada', () => read(20))).toHaveLength(20);
    expect(levels()).toEqual([
      ['info', 'reads', 'ada'],
      ['warning', 'reads', 'ada'],
      ['critical', 'reads', 'ada'],
    ]);
    expect(told[1]).toMatchObject({ values: 11, limit: 10, reason: undefined });
  });

  it('counts each actor apart, and work outside of runAs as one more', async () => {
    dataSource = await connect({ reads: { values: 10, action: 'refuse', ...HOUR } });
    await as('ada', () => read(10));
    await as('bob', () => read(10));
    await read(10);
    for (const work of [() => as('ada', () => read(1)), () => read(1)]) {
      expect(await rejection(work)).toBeInstanceOf(RateLimitedError);
    }
  });

  it('refuses what would exceed the limit, and lets less through after it', async () => {
    dataSource = await connect({ reads: { values: 10, action: 'refuse', ...HOUR } });
    const error = await rejection(() => as('eve', () => read(20)));
    expect(error).toMatchObject({ code: 'ERR_RATE_LIMITED', retryable: true });
    expect(error).toMatchObject({ entity: 'Patient', property: 'ssn' });
    const { retryAfterMs } = error as RateLimitedError;
    expect(retryAfterMs).toBeGreaterThan(3_590_000);
    expect(retryAfterMs).toBeLessThanOrEqual(3_600_000);
    expect(await as('eve', () => read(10))).toHaveLength(10);
    expect(await rejection(() => as('eve', () => read(1)))).toBeInstanceOf(RateLimitedError);
    expect(await as('eve', () => patients().count())).toBe(ROWS);
    expect(levels()).toEqual([['error', 'reads', 'eve']]);
  });

  it('begins anew with the next window', async () => {
    dataSource = await connect({ reads: { values: 10, action: 'refuse', windowMs: 50 } });
    await as('ada', () => read(10));
    const error = await rejection(() => as('ada', () => read(10)));
    const waitMs = error instanceof RateLimitedError ? error.retryAfterMs : 0;
    await new Promise((resolve) => setTimeout(resolve, waitMs + 1));
    expect(await as('ada', () => read(10))).toHaveLength(10);
  });

  it('has limits by the roles of an actor', async () => {
    const values = (actor: Actor | undefined): number =>
      actor?.roles?.includes('billing') === true ? Infinity : 5;
    dataSource = await connect({ reads: { values, action: 'refuse', ...HOUR } });
    const billing = { id: 'job', roles: ['billing'] };
    expect(await runAs(billing, () => read(20))).toHaveLength(20);
    expect(await rejection(() => as('ada', () => read(20)))).toBeInstanceOf(RateLimitedError);
    dataSource = await connect({ reads: { values: () => NaN } });
    expect(await rejection(() => read(1))).toBeInstanceOf(ConfigurationError);
  });

  const ways: readonly (readonly [string, () => Promise<unknown>])[] = [
    ['a find', () => read(1)],
    ['a value that is revealed', () => reveal(1)],
    [
      'a stored value',
      async () => {
        const [row] = await dataSource.query<{ ssn: string }[]>('SELECT ssn FROM patient');
        return fieldEncryption(dataSource).decryptValue(Patient, 'ssn', row?.ssn);
      },
    ],
    [
      'a value of a purpose',
      async () => {
        const queue = fieldEncryption(dataSource).value('queue');
        return queue.decrypt(await queue.encrypt('canary'));
      },
    ],
  ];
  it.each(ways)('counts %s as read', async (_, way) => {
    dataSource = await connect({ reads: { values: 1, action: 'refuse', ...HOUR } });
    await as('eve', () => read(1));
    expect(await rejection(() => as('eve', way))).toBeInstanceOf(RateLimitedError);
  });

  it('limits look-ups, also those that only count or delete', async () => {
    dataSource = await connect({ lookups: { values: 2, action: 'refuse', ...HOUR } });
    await as('eve', () => patients().findBy({ ssn: 'canary-1' }));
    await as('eve', () => patients().countBy({ ssn: 'canary-2' }));
    const tries: readonly (() => Promise<unknown>)[] = [
      () => patients().findBy({ ssn: 'canary-3' }),
      () => patients().existsBy({ ssn: 'canary-3' }),
      () => patients().delete({ ssn: 'canary-3' }),
      () => fieldEncryption(dataSource).tokens(Patient, 'ssn', 'canary-3'),
    ];
    for (const look of tries) {
      expect(await rejection(() => as('eve', look))).toBeInstanceOf(RateLimitedError);
    }
    expect(await as('eve', () => patients().count())).toBe(ROWS);
    expect(await as('eve', () => read(ROWS))).toHaveLength(ROWS);
  });

  it('slows the statements of an actor above a limit down, one after the other, and no others', async () => {
    dataSource = await connect({ reads: { values: 10, action: 'slow', ...HOUR } });
    await as('eve', () => read(11));
    const order: string[] = [];
    const note = (name: string, work: Promise<unknown>): Promise<unknown> =>
      work.then(() => order.push(name));
    await Promise.all([
      note(
        'eve 1',
        as('eve', () => read(1)),
      ),
      note(
        'eve 2',
        as('eve', () => patients().countBy({ ssn: 'canary-1' })),
      ),
      note(
        'ada',
        as('ada', () => read(1)),
      ),
    ]);
    expect(order).toEqual(['ada', 'eve 1', 'eve 2']);
    expect(levels()).toContainEqual(['error', 'reads', 'eve']);
  });

  it('refuses where too many statements of an actor wait', async () => {
    dataSource = await connect({ reads: { values: 1, action: 'slow', ...HOUR } });
    await as('eve', () => read(2));
    const reads = Array.from({ length: 13 }, () => as('eve', () => read(1)));
    const last = await rejection(() => reads.at(-1));
    expect(last).toBeInstanceOf(RateLimitedError);
    void Promise.allSettled(reads);
  });

  it('lets an actor who breaks the glass through, for a reason, which is critical', async () => {
    dataSource = await connect({
      reads: { values: 1, action: 'refuse', ...HOUR },
      lookups: { values: 1, action: 'slow', ...HOUR },
    });
    const actor = { id: 'ada', breakGlass: true, reason: 'cardiac arrest' };
    await runAs(actor, async () => {
      expect(await read(20)).toHaveLength(20);
      expect(await reveal(3)).toBe('canary');
      await patients().findBy({ ssn: 'canary-1' });
      await patients().findBy({ ssn: 'canary-2' });
    });
    expect(told[0]).toMatchObject({
      ...{ level: 'critical', subject: 'breakGlass', actor: 'ada', reason: 'cardiac arrest' },
    });
    expect(told.filter(({ subject }) => subject === 'breakGlass')).toHaveLength(1);
    expect(() => runAs({ id: 'ada', breakGlass: true }, () => read(1))).toThrow(
      UnsupportedValueError,
    );
  });

  it('tells of five different values that do not decrypt, and locks nobody out', async () => {
    dataSource = await connect({ reads: { values: 1000, action: 'refuse', ...HOUR } });
    await damage(1, 2, 3, 4, 5, 6);
    const open = (id: number): Promise<Error> =>
      rejection(() => as('ada', () => patients().findOneByOrFail({ id })));
    for (let i = 0; i < 10; i += 1) await open(1);
    for (const id of [2, 3, 4]) await open(id);
    expect(told).toEqual([]);
    await open(5);
    await open(6);
    expect(told).toHaveLength(1);
    expect(told[0]).toMatchObject({
      ...{ level: 'error', subject: 'failures', actor: 'ada', values: 5, limit: 5 },
    });
    expect(await as('ada', () => patients().findOneByOrFail({ id: 7 }))).toMatchObject({
      ssn: 'canary-7',
    });
  });

  it('goes by distinct values in a list, too, and says when there are ten times as many', async () => {
    dataSource = await connect({ failures: { values: 1 } });
    const stored = Array.from({ length: 12 }, (_, i) => i + 1);
    await damage(...stored);
    const rows = await dataSource.query<{ ssn: string }[]>('SELECT ssn FROM patient ORDER BY id');
    const values = rows.map(({ ssn }) => ssn);
    await fieldEncryption(dataSource).decryptValues(Patient, 'ssn', values.slice(0, 1));
    await fieldEncryption(dataSource).decryptValues(Patient, 'ssn', values);
    expect(levels()).toEqual([
      ['error', 'failures', undefined],
      ['critical', 'failures', undefined],
    ]);
  });

  it.each([
    { reads: { values: 0 } },
    { reads: { values: 10, windowMs: 0 } },
    { lookups: { values: 10, action: 'stop' as never } },
    { failures: { values: -1 } },
  ])('refuses the options %p', async (guard) => {
    const error = await rejection(() => connect(guard));
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error.message).toMatch(/guard\.\w+ must have whole numbers above 0/);
  });

  it.each([
    [
      { read: { values: 10 } },
      'guard has an unknown option "read" (known are reads, lookups, failures)',
    ],
    [{ failures: { action: 'refuse' } }, 'guard.failures has an unknown option "action"'],
    [{ reads: { values: 10, window: 1 } }, 'guard.reads has an unknown option "window"'],
  ])('does not take %p for no limit', async (guard, message) => {
    const error = await rejection(() => connect(guard as GuardOptions));
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error.message).toContain(message);
  });
});
