import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { inspect } from 'node:util';
import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { DataSource } from 'typeorm';
import { BlindIndex, Encrypted, fieldEncryption } from '../../src';
import type { FieldEncryptionError, TelemetryMessage } from '../../src';
import { installationOf } from '../../src/typeorm/installation/installations';
import { describeDiagonal } from '../support/databases';
import { FakeKms } from '../support/key-fixtures';
import { Cleanup, protect, rejection } from '../support/protected-database';

/** Part of every plaintext. */
const CANARY = 'canary';

@Entity()
class Guest {
  @PrimaryColumn() id!: number;
  @Column() room!: number;
  @Encrypted() @BlindIndex() email!: string;
  @Encrypted({ type: 'string', nullable: true, check: false }) note!: string | null;
}

const WORK = ['kms', 'key-load', 'run'];
const CHANNELS = [
  ...['values', 'failure', 'key-cache', 'key-event', 'run-progress'],
  ...WORK.flatMap((name) => ['start', 'error', 'asyncEnd'].map((event) => `${name}:${event}`)),
];

interface Told {
  readonly channel: string;
  /** As it was when it was published, without its source. */
  readonly message: Readonly<Record<string, unknown>>;
  readonly source: object;
}

/** All messages, as a listener of the application gets them. */
class Messages {
  readonly told: Told[] = [];
  readonly #stops: (() => void)[] = [];

  constructor() {
    for (const channel of CHANNELS) {
      const name = channel.includes(':')
        ? `tracing:typeorm-field-encryption:${channel}`
        : `typeorm-field-encryption:${channel}`;
      const listener = (published: unknown): void => {
        const { source, ...message } = published as TelemetryMessage;
        this.told.push({ channel, source, message });
      };
      subscribe(name, listener);
      this.#stops.push(() => unsubscribe(name, listener));
    }
  }

  /** The messages of some channels, by which these are cleared. */
  take(...channels: readonly string[]): Told['message'][] {
    const taken = this.told.filter(({ channel }) => channels.includes(channel));
    this.told.length = 0;
    // Fingerprints are random to the process.
    return taken.map(({ message: { fingerprint, ...message } }) => {
      expect(fingerprint === undefined || typeof fingerprint === 'string').toBe(true);
      return message;
    });
  }

  stop(): void {
    for (const stop of this.#stops) stop();
  }
}

describeDiagonal('the channels of node:diagnostics_channel', (kind) => {
  const cleanup = new Cleanup();
  let kms: FakeKms;
  let messages: Messages;
  let all: Told[];
  let ds: DataSource;

  beforeEach(async () => {
    kms = new FakeKms();
    const database = await cleanup.create(kind, { entities: [Guest], synchronize: true });
    ds = await cleanup.add(protect(database, { kms })).initialize();
    await ds.getRepository(Guest).insert([
      { id: 1, room: 1, email: `${CANARY}.a@x.org`, note: `${CANARY} one` },
      { id: 2, room: 2, email: `${CANARY}.b@x.org`, note: null },
    ]);
    messages = new Messages();
    all = [];
    const { told } = messages;
    told.push = (...more) => all.push(...more) && Array.prototype.push.apply(told, more);
  });
  afterEach(async () => {
    messages.stop();
    await cleanup.run();
    expect(all.length).toBeGreaterThan(0);
    for (const { message } of all) expectNothingSecret(message);
  });

  function expectNothingSecret(message: object): void {
    expect((message as { result?: unknown }).result).toBeUndefined();
    const shown = inspect(message, { depth: 10, showHidden: true, maxArrayLength: null });
    expect(shown).not.toContain(CANARY);
    for (const key of kms.keyBytes) {
      const hex = key.toString('hex');
      expect(shown.replace(/[ \n,]/g, '')).not.toContain(hex);
      expect(JSON.stringify(message)).not.toContain(hex);
      expect(JSON.stringify(message)).not.toContain(key.toString('base64'));
      expect(JSON.stringify(message)).not.toContain(key.toJSON().data.join(','));
    }
  }

  const at = (property: string): object => ({ entity: 'Guest', property });

  it('tell of the values of a result, once for each property, and of its keys', async () => {
    await ds.getRepository(Guest).find();
    expect(messages.take('values', 'key-cache')).toEqual([
      { hits: 1, misses: 0 },
      { operation: 'decrypt', ...at('email'), values: 2 },
      { operation: 'decrypt', ...at('note'), values: 1 },
    ]);
  });

  it('tell of a key that a result has to wait for, of its load and of the call to the KMS', async () => {
    await installationOf(ds).keys.close();
    await ds.getRepository(Guest).find();
    const calls = all.map(({ channel, message }) => [channel, message]);
    expect(calls).toEqual(
      expect.arrayContaining([
        ['key-cache', { hits: 0, misses: 1 }],
        ['key-load:start', {}],
        ['kms:start', { provider: 'fake', operation: 'unwrap' }],
        ['kms:asyncEnd', { provider: 'fake', operation: 'unwrap' }],
        ['key-load:asyncEnd', {}],
      ]),
    );
    expect(messages.take('kms:error', 'key-load:error', 'failure')).toEqual([]);
  });

  it('tell of the values that are written', async () => {
    await ds.getRepository(Guest).insert([
      { id: 3, room: 1, email: `${CANARY}.c@x.org`, note: `${CANARY} three` },
      { id: 4, room: 1, email: `${CANARY}.d@x.org`, note: null },
    ]);
    expect(messages.take('values')).toEqual([
      { operation: 'encrypt', ...at('email'), values: 2 },
      { operation: 'encrypt', ...at('note'), values: 1 },
    ]);
    await ds.getRepository(Guest).update({ id: 3 }, { note: `${CANARY} four` });
    expect(messages.take('values')).toEqual([{ operation: 'encrypt', ...at('note'), values: 1 }]);
    await ds.getRepository(Guest).update({ id: 3 }, { room: 7 });
    expect(messages.take('values')).toEqual([]);
  });

  it('tell of the values that are looked up', async () => {
    await ds.getRepository(Guest).findOneBy({ email: `${CANARY}.a@x.org` });
    expect(messages.take('values')).toContainEqual({
      ...{ operation: 'lookup', ...at('email'), values: 1 },
    });
  });

  it('tell which property does not decrypt', async () => {
    const [[a], [b]] = (await Promise.all(
      [1, 2].map((id) => ds.query<{ email: string }[]>(`SELECT email FROM guest WHERE id = ${id}`)),
    )) as [[{ email: string }], [{ email: string }]];
    expect(a.email).not.toBe(b.email);
    await ds.query(`UPDATE guest SET note = '${a.email}' WHERE id = 1`);
    await rejection(ds.getRepository(Guest).find());
    expect(messages.take('failure')).toEqual([
      { operation: 'decrypt', ...at('note'), code: 'ERR_DECRYPTION' },
    ]);
  });

  it('tell of values that are not encrypted or looked up', async () => {
    const wrong = { wrong: CANARY } as never;
    await rejection(ds.getRepository(Guest).insert({ id: 5, room: 1, email: wrong, note: null }));
    expect(messages.take('failure')).toEqual([
      { operation: 'encrypt', ...at('email'), code: 'ERR_UNSUPPORTED_VALUE' },
    ]);
    const stored = await fieldEncryption(ds).encryptValue(Guest, 'email', CANARY);
    messages.take();
    await fieldEncryption(ds).decryptValues(Guest, 'note', [stored, null]);
    expect(messages.take('values', 'failure')).toEqual([
      { operation: 'decrypt', ...at('note'), values: 1 },
      { operation: 'decrypt', ...at('note'), code: 'ERR_DECRYPTION' },
    ]);
  });

  it('tell of an outage of the KMS: of the call, and of each operation that fails', async () => {
    await installationOf(ds).keys.close();
    kms.outage = new Error('no route to host');
    await rejection(ds.getRepository(Guest).find());
    const [failed] = messages.take('kms:error');
    expect(failed).toMatchObject({ provider: 'fake', operation: 'unwrap' });
    expect((failed!['error'] as FieldEncryptionError).code).toBe('ERR_KMS_UNAVAILABLE');
    const code = 'ERR_KMS_UNAVAILABLE';
    messages.told.length = 0;
    await rejection(ds.getRepository(Guest).find());
    expect(messages.told).toContainEqual(
      expect.objectContaining({ channel: 'key-cache', message: { hits: 0, misses: 1 } }),
    );
    expect(messages.take('failure')).toEqual([{ operation: 'decrypt', ...at('email'), code }]);
    await rejection(ds.getRepository(Guest).findOneBy({ email: `${CANARY}.a@x.org` }));
    expect(messages.take('failure')).toEqual([{ operation: 'lookup', ...at('email'), code }]);
    await rejection(ds.getRepository(Guest).insert({ id: 6, room: 1, email: CANARY, note: null }));
    expect(messages.take('failure')).toEqual([{ operation: 'encrypt', ...at('email'), code }]);
  });

  it('tell of a rotation, of a run and of its progress', async () => {
    await fieldEncryption(ds).keys.rotate();
    expect(messages.take('key-event')).toMatchObject([
      { event: { type: 'keyRotated', keyName: 'default', version: 2 } },
    ]);
    await fieldEncryption(ds).reencrypt({ batchSize: 1 });
    const told = all.filter(({ channel }) => channel.startsWith('run'));
    expect(told.map(({ channel, message }) => [channel, message])).toEqual([
      ['run:start', { mode: 'reencrypt' }],
      ['run-progress', { mode: 'reencrypt', entity: 'Guest', scanned: 1, total: 2 }],
      ['run-progress', { mode: 'reencrypt', entity: 'Guest', scanned: 2, total: 2 }],
      ['run:asyncEnd', { mode: 'reencrypt' }],
    ]);
  });

  it('tell of the rows that a run finds damaged, and of a run that fails', async () => {
    await ds.query(`UPDATE guest SET note = (SELECT email FROM guest WHERE id = 2) WHERE id = 1`);
    await fieldEncryption(ds).verify();
    expect(messages.take('failure')).toEqual([
      { operation: 'decrypt', ...at('note'), code: 'ERR_DECRYPTION' },
    ]);
    await rejection(fieldEncryption(ds).reencrypt({ columns: ['Guest.nothing'] }));
    expect(messages.take('run:error')).toMatchObject([
      { mode: 'reencrypt', error: { code: 'ERR_RUN_PLAN' } },
    ]);
  });

  it('say whose messages they are', async () => {
    const database = await cleanup.create(kind, { entities: [Guest], synchronize: true });
    const other = cleanup.add(protect(database, { kms }));
    await other.initialize();
    await other.getRepository(Guest).insert({ id: 1, room: 1, email: CANARY, note: null });
    await other.getRepository(Guest).findOneBy({ email: CANARY });
    await fieldEncryption(other).keys.rotate();
    await fieldEncryption(other).reencrypt();
    expect(new Set(all.map(({ source }) => source))).toEqual(new Set([other]));
    expect(new Set(all.map(({ channel }) => channel))).toEqual(
      new Set(CHANNELS.filter((name) => name !== 'failure' && !name.endsWith(':error'))),
    );
  });
});
