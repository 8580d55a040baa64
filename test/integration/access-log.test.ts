import { AsyncLocalStorage } from 'node:async_hooks';
import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { DataSource, Repository } from 'typeorm';
import {
  AccessDeniedError,
  AuditError,
  BlindIndex,
  ConfigurationError,
  Encrypted,
  fieldEncryption,
  runAs,
  Sealed,
} from '../../src';
import type { AccessEntry, FieldEncryptionOptions, KeyEvent } from '../../src';
import { installationOf } from '../../src/typeorm/installation/installations';
import { describeDiagonal } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { Cleanup, protect, rejection } from '../support/protected-database';
import { ownColumns } from '../support/own-columns';

@Entity()
class Patient {
  @PrimaryColumn() id!: number;
  @Column() ward!: string;
  @Encrypted() @BlindIndex() ssn!: string;
  @Encrypted({ type: 'string', nullable: true }) note!: string | null;
  @Encrypted({ read: 'sealed', type: 'string', nullable: true })
  diagnosis!: Sealed<string> | string | null;
}

const ada = { id: 'ada', reason: 'ticket 7' };
const bob = { id: 'bob' };

describeDiagonal('The access log', (kind) => {
  const cleanup = new Cleanup();
  let database: TestDatabase;
  let dataSource: DataSource;
  let now: number;
  let events: KeyEvent[];

  async function connect(options: Partial<FieldEncryptionOptions> = {}): Promise<DataSource> {
    const given = {
      accessLog: {},
      now: () => new Date(now),
      onEvent: (event: KeyEvent) => events.push(event),
      ...options,
    };
    return cleanup.add(protect(database, given)).initialize();
  }

  beforeEach(async () => {
    now = Date.UTC(2026, 10, 1, 12, 0, 30);
    events = [];
    database = await cleanup.create(kind, { entities: [Patient], synchronize: true });
    dataSource = await connect();
    await patients().insert([
      { id: 1, ward: 'A', ssn: 'canary-1', note: 'canary-note', diagnosis: 'canary-d1' },
      { id: 2, ward: 'A', ssn: 'canary-2', note: null, diagnosis: 'canary-d2' },
    ]);
  });
  afterEach(async () => {
    expect(JSON.stringify(events)).not.toContain('canary');
    await cleanup.run();
  });

  const patients = (): Repository<Patient> => dataSource.getRepository(Patient);
  const log = () => fieldEncryption(dataSource).accessLog;
  const rows = (): Promise<Record<string, unknown>[]> =>
    dataSource.query('SELECT * FROM field_encryption_access ORDER BY writer, seq');
  const failures = () => events.filter(({ type }) => type === 'accessLogFailed');

  async function reveal(id: number): Promise<string> {
    const { diagnosis } = await patients().findOneByOrFail({ id });
    if (!(diagnosis instanceof Sealed)) throw new Error('not sealed');
    return diagnosis.reveal();
  }

  /** What is compared of entries. */
  const brief = ({ actor, operation, property, values, time }: AccessEntry): unknown[] => [
    ...[time.slice(11, 16), actor, operation, property, values],
  ];

  it('counts values and look-ups by actor, column and minute', async () => {
    await runAs(ada, () => patients().find());
    await runAs(ada, () => patients().find());
    await runAs(bob, () => patients().findBy({ ssn: 'canary-1' }));
    now += 60_000;
    await runAs(ada, () => patients().findBy({ id: 1 }));
    await log().flush();
    const { ok, entries } = await log().list({ since: new Date(0) });
    expect(ok).toBe(true);
    expect(entries.map(brief).sort()).toEqual([
      ['12:00', 'ada', 'decrypt', 'note', 2],
      ['12:00', 'ada', 'decrypt', 'ssn', 4],
      ['12:00', 'bob', 'decrypt', 'note', 1],
      ['12:00', 'bob', 'decrypt', 'ssn', 1],
      ['12:00', 'bob', 'lookup', 'ssn', 1],
      ['12:01', 'ada', 'decrypt', 'note', 1],
      ['12:01', 'ada', 'decrypt', 'ssn', 1],
    ]);
    expect(
      entries.every(({ entity, primaryKey, reason }) => entity && !primaryKey && !reason),
    ).toBe(true);
    expect(new Set(entries.map(({ writer }) => writer)).size).toBe(1);
  });

  it('names the row, the actor and the reason of a value that is revealed', async () => {
    await runAs(ada, async () => {
      expect(await reveal(1)).toBe('canary-d1');
      expect(await reveal(1)).toBe('canary-d1');
    });
    await runAs(bob, () => reveal(2));
    await log().flush();
    const { entries } = await log().list({ row: ['1'], since: new Date(now) });
    expect(entries).toEqual([
      expect.objectContaining({
        ...{ actor: 'ada', operation: 'reveal', entity: 'Patient', property: 'diagnosis' },
        ...{ primaryKey: ['1'], reason: 'ticket 7', values: 2, time: '2026-11-01T12:00:00.000Z' },
      }),
    ]);
    const others = await log().list({ actor: 'bo', column: 'Patient.diagnosis' });
    expect(others.entries.map(brief)).toEqual([
      ['12:00', 'bob', 'decrypt', 'diagnosis', 1],
      ['12:00', 'bob', 'reveal', 'diagnosis', 1],
    ]);
  });

  it('holds no value, token, ciphertext or key', async () => {
    await runAs(ada, () => patients().findBy({ ssn: 'canary-1' }));
    await runAs(ada, () => reveal(1));
    await log().flush();
    const [patient] = await dataSource.query<object[]>('SELECT * FROM patient WHERE id = 1');
    const [key] = await dataSource.query<{ wrapped_key: string }[]>('SELECT * FROM data_keys');
    const text = JSON.stringify(await rows());
    expect(text).toContain('"ada"');
    expect(text).not.toContain('canary');
    expect(text).not.toContain(key?.wrapped_key);
    for (const cell of Object.values(patient ?? {})) {
      if (typeof cell === 'string' && cell.length > 10) expect(text).not.toContain(cell);
    }
  });

  it('names the process for work outside of runAs', async () => {
    await patients().find();
    await log().flush();
    const { entries } = await log().list();
    expect(entries[0]?.actor).toContain(`:${String(process.pid)}`);
  });

  const edits: readonly (readonly [string, string, string])[] = [
    [
      'whose number of values is edited',
      'UPDATE field_encryption_access SET value_count = 9 WHERE seq = 2',
      'edited',
    ],
    [
      'whose actor is edited',
      "UPDATE field_encryption_access SET actor = 'eve' WHERE seq = 2",
      'edited',
    ],
    [
      'that lost its actor',
      'UPDATE field_encryption_access SET actor = NULL WHERE seq = 2',
      'edited',
    ],
    [
      'that got a row',
      `UPDATE field_encryption_access SET primary_key = '[]' WHERE seq = 2`,
      'edited',
    ],
    [
      'with an operation of no meaning',
      "UPDATE field_encryption_access SET operation = 'x' WHERE seq = 2",
      'edited',
    ],
    ['that is gone', 'DELETE FROM field_encryption_access WHERE seq = 2', 'missing'],
    [
      'under a key that is not there',
      "UPDATE field_encryption_access SET sealed_by = 'ffff' WHERE seq = 2",
      'unknownSeal',
    ],
  ];
  it.each(edits)('says so of an entry %s', async (_, sql, problem) => {
    await runAs(ada, () => patients().find());
    await runAs(bob, () => patients().find());
    await log().flush();
    await dataSource.query(sql);
    const { ok, broken } = await log().list({ actor: 'nobody' });
    expect(ok).toBe(false);
    expect(broken).toEqual([{ writer: expect.any(String) as string, seq: 2, problem }]);
  });

  it('says so of entries that a row of another process was put between', async () => {
    await runAs(ada, () => patients().find());
    await log().flush();
    await runAs(bob, () => patients().find());
    await log().flush();
    await dataSource.query(
      "UPDATE field_encryption_access SET writer = 'f', seq = seq + 5 WHERE seq > 2",
    );
    expect((await log().list()).broken.map(({ problem }) => problem)).toEqual(['edited', 'edited']);
  });

  it('stays whole when old entries are deleted by their time', async () => {
    await runAs(ada, () => patients().find());
    await log().flush();
    now += 60_000;
    await runAs(bob, () => patients().find());
    await log().flush();
    await dataSource.query(
      "DELETE FROM field_encryption_access WHERE time < '2026-11-01T12:01:00.000Z'",
    );
    const { ok, entries } = await log().list({ since: new Date(0) });
    expect([ok, entries.map(({ actor }) => actor)]).toEqual([true, ['bob', 'bob']]);
  });

  it('is written when the DataSource is destroyed, and by another writer after that', async () => {
    await runAs(ada, () => patients().find());
    await dataSource.destroy();
    await dataSource.initialize();
    await runAs(bob, () => patients().find());
    await log().flush();
    const { ok, entries } = await log().list();
    expect([ok, entries.length]).toEqual([true, 4]);
    expect(new Set(entries.map(({ writer }) => writer)).size).toBe(2);
  });

  it('keeps what it cannot write, says why, and writes it later', async () => {
    await dataSource.query('ALTER TABLE field_encryption_access RENAME TO away');
    await runAs(ada, () => patients().find());
    const warnings = jest.spyOn(dataSource.logger, 'log');
    expect(await rejection(log().flush())).toBeInstanceOf(AuditError);
    expect(failures()).toEqual([
      {
        ...{ type: 'accessLogFailed', target: 'table', code: 'ERR_CONFIGURATION' },
        message: expect.stringContaining('field_encryption_access') as string,
        ...{ waiting: 2, dropped: 0 },
      },
    ]);
    expect(JSON.stringify(warnings.mock.calls)).toMatch(
      /The table needs the migrations.+: .*field_encryption_access/,
    );
    await runAs(ada, () => patients().find());
    await runAs(bob, () => patients().find());
    expect(await rejection(log().flush())).toBeInstanceOf(AuditError);
    await dataSource.query('ALTER TABLE away RENAME TO field_encryption_access');
    await log().flush();
    const { ok, entries } = await log().list();
    expect(ok).toBe(true);
    expect(entries.map(brief)).toEqual([
      ['12:00', 'ada', 'decrypt', 'ssn', 2],
      ['12:00', 'ada', 'decrypt', 'note', 1],
      ['12:00', 'ada', 'decrypt', 'ssn', 2],
      ['12:00', 'ada', 'decrypt', 'note', 1],
      ['12:00', 'bob', 'decrypt', 'ssn', 2],
      ['12:00', 'bob', 'decrypt', 'note', 1],
    ]);
    expect(installationOf(dataSource).accessLog?.size).toBe(0);
  });

  it('goes on after a clock that shows no time, or a wrong one', async () => {
    const right = now;
    for (const wrong of [NaN, 8.64e15, Date.UTC(2099, 0)]) {
      now = wrong;
      await runAs(ada, () => patients().find());
    }
    now = right;
    await runAs(bob, () => patients().find());
    await log().flush();
    expect(failures()).toMatchObject([{ code: undefined, waiting: 0, dropped: 6 }]);
    const { ok, entries } = await log().list({ since: new Date(0) });
    expect(ok).toBe(true);
    expect(entries.map(({ actor, time }) => [actor, time.slice(0, 4)])).toEqual([
      ['bob', '2026'],
      ['bob', '2026'],
      ['ada', '2099'],
      ['ada', '2099'],
    ]);
  });

  it('says how much is lost where the application cannot name its actor', async () => {
    const actor = (): string => {
      throw new Error('no request');
    };
    dataSource = await connect({ audit: { actor } });
    expect(await patients().find()).toHaveLength(2);
    await log().flush();
    expect(failures()).toMatchObject([{ waiting: 0, dropped: 3 }]);
  });

  it('and the audit log stay whole where an actor is cut within a character', async () => {
    dataSource = await connect({ audit: { actor: () => `${'x'.repeat(255)}\u{1f600}\udc00` } });
    await patients().find();
    await fieldEncryption(dataSource).keys.rotate();
    await log().flush();
    expect(await log().list()).toMatchObject({ ok: true });
    expect(await fieldEncryption(dataSource).audit.verify()).toMatchObject({ ok: true });
  });

  it('gives up what cannot be written at the end, and says how much', async () => {
    await dataSource.query('DROP TABLE field_encryption_access');
    await runAs(ada, () => patients().find());
    await dataSource.destroy();
    expect(failures().at(-1)).toMatchObject({ waiting: 0, dropped: 3 });
  });

  it('is missed by the doctor where its table is missing', async () => {
    await dataSource.query('DROP TABLE field_encryption_access');
    expect(await fieldEncryption(dataSource).doctor()).toContainEqual(
      expect.objectContaining({
        code: 'OWN_TABLE_MISSING',
        message: expect.stringContaining('field_encryption_access') as string,
      }),
    );
  });

  it('goes on under a new writer where somebody has taken its numbers', async () => {
    await runAs(ada, () => patients().find());
    await log().flush();
    const [row] = await rows();
    const names = ownColumns('field_encryption_access');
    const copied = names.map((name) => (name === 'seq' ? '3' : name)).join(', ');
    await dataSource.query(
      `INSERT INTO field_encryption_access (${names.join(', ')}) SELECT ${copied} FROM field_encryption_access WHERE seq = 1`,
    );
    await runAs(bob, () => patients().find());
    expect(await rejection(log().flush())).toBeInstanceOf(AuditError);
    await log().flush();
    const { ok, entries, broken } = await log().list({ actor: 'bob' });
    expect([ok, entries.length]).toEqual([false, 2]);
    expect(broken).toEqual([{ writer: row?.['writer'], seq: 3, problem: 'edited' }]);
  });

  it('is no part of the transaction that reads, nor waits for it', async () => {
    await runAs(ada, () =>
      dataSource.transaction(async (manager) => {
        await manager.find(Patient);
        await manager.update(Patient, 1, { ward: 'B' });
        throw new Error('rolled back');
      }),
    ).catch(() => undefined);
    await log().flush();
    expect((await log().list()).entries).toHaveLength(2);
    expect(await patients().findOneByOrFail({ id: 1 })).toMatchObject({ ward: 'A' });
  });

  it('is written outside of the context of whoever has it written', async () => {
    const contexts = new AsyncLocalStorage<string>();
    const seen: (string | undefined)[] = [];
    const sink = (): void => {
      seen.push(contexts.getStore());
    };
    dataSource = await connect({ accessLog: { sink } });
    await contexts.run('a request', async () => {
      await patients().find();
      await log().flush();
    });
    expect(seen).toEqual([undefined]);
  });

  it('counts what it has verified, whether it was asked for or not', async () => {
    await runAs(ada, () => patients().find());
    await log().flush();
    expect(await log().list({ actor: 'nobody' })).toMatchObject({ verified: 2, entries: [] });
    expect(await log().list({ column: 'Patient.diagnosis' })).toMatchObject({ entries: [] });
  });

  it('lists a property that is no longer encrypted, while there are entries of it', async () => {
    await runAs(ada, () => patients().find());
    await log().flush();
    await dataSource.query("UPDATE field_encryption_access SET property = 'phone' WHERE seq = 1");
    expect((await log().list({ column: 'Patient.phone' })).entries).toHaveLength(1);
  });

  it.each([
    [{ column: 'Patient.nope' }, /column must be an encrypted property.+Patient\.ssn/],
    [{ column: 'diagnosis' }, /column must be an encrypted property/],
    [{ row: '2' }, /row must be an array/],
    [{ row: [2] }, /row must be a string/],
    [{ rows: ['2'] }, /unknown option "rows" \(known are actor, column, row/],
    [{ since: '2020-01-01' }, /since must be a Date/],
    [{ limit: 0 }, /limit must not be less than 1/],
    [null, /must be an object/],
  ])('does not say that nobody has read %p', async (range, message) => {
    const error = await rejection(log().list(range as never));
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error.message).toMatch(message);
  });

  it.each([
    [undefined, /`accessLog` is off/],
    [{ sink: () => undefined }, /go to `accessLog\.sink`/],
  ])('has nothing to list with accessLog: %p', async (accessLog, message) => {
    dataSource = await connect({ accessLog } as Partial<FieldEncryptionOptions>);
    const error = await rejection(log().list());
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error.message).toMatch(message);
  });

  it('may be refused below level 2', async () => {
    dataSource = await connect({ access: { levelOf: () => 1 } });
    expect(await rejection(log().list())).toBeInstanceOf(AccessDeniedError);
  });

  describe('with a sink', () => {
    let taken: (readonly AccessEntry[])[];

    beforeEach(() => {
      taken = [];
    });

    it('hands it numbered entries, and writes no table', async () => {
      dataSource = await connect({
        audit: false,
        accessLog: { sink: (entries) => void taken.push(entries) },
      });
      await runAs(ada, () => patients().find());
      await log().flush();
      await runAs(bob, () => patients().find());
      await log().flush();
      expect(taken.flat().map(({ seq, actor }) => [seq, actor])).toEqual([
        ...[
          [1, 'ada'],
          [2, 'ada'],
        ],
        ...[
          [3, 'bob'],
          [4, 'bob'],
        ],
      ]);
      expect(JSON.parse(JSON.stringify(taken[0]?.[0]))).toEqual(taken[0]?.[0]);
      expect(await rows()).toEqual([]);
    });

    it('hands it the same entries again if it fails', async () => {
      let isDown = true;
      const sink = (entries: readonly AccessEntry[]): void => {
        taken.push(entries);
        if (isDown) throw new Error('splunk is down');
      };
      dataSource = await connect({ accessLog: { sink } });
      const warnings = jest.spyOn(dataSource.logger, 'log');
      await runAs(ada, () => patients().find());
      const error = await rejection(log().flush());
      expect(error).toMatchObject({ code: 'ERR_AUDIT', retryable: true });
      expect(error.cause).toEqual(new Error('splunk is down'));
      expect(failures()).toEqual([
        expect.objectContaining({ target: 'sink', code: undefined, message: 'splunk is down' }),
      ]);
      expect(JSON.stringify(warnings.mock.calls)).toContain(
        '`accessLog.sink` failed: splunk is down',
      );
      expect(JSON.stringify(warnings.mock.calls)).not.toContain('migrations');
      isDown = false;
      await log().flush();
      await log().flush();
      expect(taken).toHaveLength(2);
      expect(taken[1]).toEqual(taken[0]);
    });

    it('keeps within its bounds at 100,000 reads, counting those of further actors together', async () => {
      let release = (): void => undefined;
      const held = new Promise<void>((resolve) => {
        release = resolve;
      });
      const sink = (entries: readonly AccessEntry[]): Promise<void> => {
        taken.push(entries);
        return held;
      };
      dataSource = await connect({ accessLog: { sink } });
      const accessLog = installationOf(dataSource).accessLog;
      const use = { operation: 'decrypt', entity: 'Patient', property: 'ssn', values: 2 } as const;
      let largest = 0;
      for (let i = 0; i < 100_000; i += 1) {
        const revealed = { ...use, operation: 'reveal', primaryKey: [String(i)] } as const;
        runAs({ id: `actor ${String(i)}` }, () => accessLog?.note(i % 2 === 0 ? use : revealed));
        if (i % 1000 === 0) await new Promise(setImmediate);
        largest = Math.max(largest, accessLog?.size ?? 0);
      }
      expect(largest).toBeLessThanOrEqual(22_000);
      release();
      await log().flush();
      await log().flush();
      const values = taken.flat().reduce((sum, entry) => sum + entry.values, 0);
      expect(values).toBe(200_000);
      expect(taken.flat().filter(({ actor }) => actor === null).length).toBeGreaterThan(0);
    });
  });

  it.each([
    [{ accessLog: { sink: 'a.log' as never } }, /accessLog\.sink must be a function/],
    [{ accessLog: {}, audit: false as const }, /accessLog needs the audit log/],
    [{ accessLog: { sinks: () => undefined } as never }, /accessLog: an unknown option "sinks"/],
    [{ access: { levelOf: () => 0, levels: {} } as never }, /access: an unknown option "levels"/],
  ])('refuses %p', async (options, message) => {
    const error = await rejection(() => connect(options));
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error.message).toMatch(message);
  });
});
