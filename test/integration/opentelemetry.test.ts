import { isDeepStrictEqual } from 'node:util';
import { context, SpanStatusCode } from '@opentelemetry/api';
import type { Attributes } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { PrometheusSerializer } from '@opentelemetry/exporter-prometheus';
import { MeterProvider, MetricReader } from '@opentelemetry/sdk-metrics';
import type { MetricData } from '@opentelemetry/sdk-metrics';
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base';
import { channel } from 'node:diagnostics_channel';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { inspect } from 'node:util';
import { DataSource, Entity, Column, PrimaryColumn } from 'typeorm';
import {
  BlindIndex,
  ConfigurationError,
  Encrypted,
  fieldEncryption,
  KeyScope,
  runAs,
  withKeyScope,
} from '../../src';
import type { FieldEncryptionOptions } from '../../src';
import { instrument } from '../../src/opentelemetry';
import type { Instrumentation, InstrumentOptions } from '../../src/opentelemetry';
import { installationOf } from '../../src/typeorm/installation/installations';
import { describeDiagonal } from '../support/databases';
import { FakeKms } from '../support/key-fixtures';
import { Cleanup, protect, rejection } from '../support/protected-database';
import { ownColumns } from '../support/own-columns';

const CANARY = 'canary';
const TENANT = 'canary-tenant';
const DAY_MS = 86_400_000;

@Entity()
class Guest {
  @PrimaryColumn() id!: number;
  @Encrypted() @BlindIndex() email!: string;
  @Encrypted({ type: 'string', nullable: true, check: false }) note!: string | null;
}

@Entity()
class Letter {
  @PrimaryColumn() id!: number;
  @KeyScope({ kind: 'tenant' }) @Column() tenantId!: string;
  @Encrypted() text!: string;
}

/** Collects when it is asked to. */
class ManualReader extends MetricReader {
  protected override onForceFlush(): Promise<void> {
    return Promise.resolve();
  }

  protected override onShutdown(): Promise<void> {
    return Promise.resolve();
  }
}

/** A service with one registry of metrics and one of spans. */
class Telemetry {
  readonly #reader = new ManualReader();
  readonly #provider = new MeterProvider({ readers: [this.#reader] });
  readonly #spans = new InMemorySpanExporter();
  readonly meter = this.#provider.getMeter('test');
  readonly tracer = new BasicTracerProvider({
    spanProcessors: [new SimpleSpanProcessor(this.#spans)],
  }).getTracer('test');

  get spans() {
    return this.#spans.getFinishedSpans();
  }

  async metrics(): Promise<MetricData[]> {
    const { resourceMetrics, errors } = await this.#reader.collect();
    expect(errors).toEqual([]);
    return resourceMetrics.scopeMetrics.flatMap(({ metrics }) => metrics);
  }

  /** The points of a metric: attributes, and the value or the number of what was measured. */
  async points(name: string): Promise<[Attributes, number][]> {
    const metric = (await this.metrics()).find(
      ({ descriptor }) => descriptor.name === `field_encryption.${name}`,
    );
    return (metric?.dataPoints ?? []).map(({ attributes, value }) => [
      attributes,
      typeof value === 'number' ? value : value.count,
    ]);
  }

  async exposition(): Promise<string> {
    return new PrometheusSerializer().serialize((await this.#reader.collect()).resourceMetrics);
  }

  /** Waits until keys and rows were asked for, and all answers are in. */
  async polled(times: number, wanted: Attributes = {}): Promise<void> {
    for (;;) {
      const polls = await this.points('status.polls');
      const [, count = 0] =
        polls.find(([attributes]) => inspect(attributes) === inspect(wanted)) ?? [];
      if (count >= times) return;
      await sleep(20);
    }
  }
}

describeDiagonal('instrument()', (kind) => {
  const cleanup = new Cleanup();
  let kms: FakeKms;
  let telemetry: Telemetry;
  let instrumentation: Instrumentation | undefined;

  beforeEach(() => {
    kms = new FakeKms();
    telemetry = new Telemetry();
  });
  afterEach(async () => {
    await expectNothingSecret();
    await instrumentation?.stop();
    instrumentation = undefined;
    await cleanup.run();
  });

  async function open(options: Partial<FieldEncryptionOptions> = {}): Promise<DataSource> {
    const database = await cleanup.create(kind, { entities: [Guest, Letter], synchronize: true });
    return cleanup.add(protect(database, { kms, ...options })).initialize();
  }

  function measure(
    ds: DataSource,
    status?: InstrumentOptions['status'],
    actorOf?: InstrumentOptions['actorOf'],
  ): void {
    const { meter, tracer } = telemetry;
    instrumentation = instrument(ds, { meter, tracer, status, actorOf });
  }

  /** A sink that takes nothing. */
  const down = (): never => {
    throw new Error('down');
  };

  async function fill(ds: DataSource): Promise<void> {
    await ds.getRepository(Guest).insert([
      { id: 1, email: `${CANARY}.a@x.org`, note: `${CANARY} one` },
      { id: 2, email: `${CANARY}.b@x.org`, note: null },
    ]);
  }

  async function expectNothingSecret(): Promise<void> {
    const spans = telemetry.spans.map(({ name, attributes, status, events }) => {
      return { name, attributes, status, events };
    });
    const metrics = (await telemetry.metrics()).map(({ descriptor, dataPoints }) => {
      return [descriptor, dataPoints.map(({ attributes }) => attributes)];
    });
    const shown = inspect([metrics, spans], { depth: 12, maxArrayLength: null });
    expect(shown.length).toBeGreaterThan(200);
    expect(shown).not.toMatch(new RegExp(CANARY, 'i'));
    // Ids of keys, and hashes.
    expect(shown).not.toMatch(/[0-9a-f]{16}/);
    for (const key of kms.keyBytes)
      expect(shown).not.toContain(key.toString('base64').slice(0, 12));
  }

  const at = (property: string): Attributes => ({ entity: 'Guest', property });

  it('counts values by operation and property, of this DataSource alone', async () => {
    const ds = await open();
    measure(ds);
    await fill(ds);
    await ds.getRepository(Guest).find();
    await ds.getRepository(Guest).find();
    const other = await open();
    await fill(other);
    await other.getRepository(Guest).find();
    expect(await telemetry.points('values')).toEqual([
      [{ operation: 'encrypt', ...at('email') }, 2],
      [{ operation: 'encrypt', ...at('note') }, 1],
      [{ operation: 'decrypt', ...at('email') }, 4],
      [{ operation: 'decrypt', ...at('note') }, 2],
    ]);
    expect(await telemetry.points('key_cache.requests')).toEqual([[{ result: 'hit' }, 2]]);
    // That of the guests, and the one above the keys of tenants.
    expect(await telemetry.points('key_cache.size')).toEqual([[{}, 2]]);
  });

  it('counts values by a name of the actor, what the guard tells, and what waits to be logged', async () => {
    const ds = await open({ accessLog: { sink: down }, guard: { reads: { values: 1 } } });
    measure(ds, undefined, (actor) => actor?.roles?.[0]);
    await fill(ds);
    await runAs({ id: `${CANARY}@clinic`, roles: ['nurse'] }, () => ds.getRepository(Guest).find());
    expect(await telemetry.points('values')).toEqual([
      [{ operation: 'encrypt', ...at('email') }, 2],
      [{ operation: 'encrypt', ...at('note') }, 1],
      [{ operation: 'decrypt', ...at('email'), actor: 'nurse' }, 2],
      [{ operation: 'decrypt', ...at('note'), actor: 'nurse' }, 1],
    ]);
    expect(await telemetry.points('guard.notices')).toEqual([
      [{ level: 'warning', subject: 'reads' }, 1],
    ]);
    expect(await telemetry.points('access_log.waiting')).toEqual([[{}, 2]]);
    await ds.destroy();
    expect(await telemetry.points('access_log.dropped')).toEqual([[{}, 3]]);
    expect(await telemetry.points('access_log.waiting')).toEqual([[{}, 0]]);
  });

  it('counts on where the application cannot name the actor', async () => {
    const ds = await open();
    measure(ds, undefined, down);
    await fill(ds);
    expect(await telemetry.points('values')).toEqual([
      [{ operation: 'encrypt', ...at('email') }, 2],
      [{ operation: 'encrypt', ...at('note') }, 1],
    ]);
  });

  it('warns once of a meter that throws, and lets the application go on', async () => {
    const warn = jest.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    const meter = telemetry.meter;
    const createCounter = meter.createCounter.bind(meter);
    jest
      .spyOn(meter, 'createCounter')
      .mockImplementation((name, options) =>
        Object.assign(createCounter(name, options), { add: down }),
      );
    const ds = await open();
    measure(ds);
    await fill(ds);
    expect(await ds.getRepository(Guest).find()).toHaveLength(2);
    // Others may warn in the meantime.
    const own = { type: 'FieldEncryptionWarning' };
    const warnings = warn.mock.calls.filter(([, about]) => isDeepStrictEqual(about, own));
    expect(warnings).toEqual([[expect.not.stringContaining('down'), own]]);
  });

  it('takes no name from rows of the key table that anybody may have written', async () => {
    const ds = await open();
    await fill(ds);
    const columns = ownColumns('data_keys');
    for (let i = 0; i < 5; i += 1) {
      const made: Record<string, string> = {
        ...{
          id: `'${String(i).repeat(16)}'`,
          name: `'${CANARY} ${String(i)}'`,
          kms: `'${CANARY}'`,
        },
      };
      const values = columns.map((name) => made[name] ?? name).join(', ');
      await ds.query(
        `INSERT INTO data_keys (${columns.join(', ')}) SELECT ${values} FROM data_keys ` +
          "WHERE name = 'default' AND purpose = 'data'",
      );
    }
    measure(ds, { everyMs: 50 });
    await telemetry.polled(1);
    const keys = (await telemetry.points('key.age')).map(([{ key }]) => key);
    expect([...new Set(keys)].sort()).toEqual(['_OTHER', 'branch', 'default']);
    const providers = await telemetry.points('kek.oldest_wrapping.age');
    expect(providers.map(([{ provider }]) => provider).sort()).toEqual(['_OTHER', 'fake']);
  });

  it('counts failures by code, and times calls to the KMS by their results', async () => {
    const ds = await open();
    await fill(ds);
    await ds.query(`UPDATE guest SET note = (SELECT email FROM guest WHERE id = 2) WHERE id = 1`);
    measure(ds);
    await rejection(ds.getRepository(Guest).find());
    await installationOf(ds).keys.close();
    await ds.getRepository(Guest).findOneBy({ id: 2 });
    await installationOf(ds).keys.close();
    kms.outage = new Error(`no route to ${CANARY}`);
    await rejection(ds.getRepository(Guest).findOneBy({ id: 2 }));
    const unavailable = { 'error.type': 'ERR_KMS_UNAVAILABLE' };
    expect(await telemetry.points('failures')).toEqual([
      [{ operation: 'decrypt', ...at('note'), 'error.type': 'ERR_DECRYPTION' }, 1],
      [{ operation: 'decrypt', ...at('email'), ...unavailable }, 1],
    ]);
    const call = { provider: 'fake', operation: 'unwrap' };
    expect(await telemetry.points('kms.duration')).toEqual([
      [call, 1],
      [{ ...call, ...unavailable }, 1],
    ]);
    expect(await telemetry.points('key_load.duration')).not.toEqual([]);
    expect(await telemetry.points('key_cache.requests')).toEqual([
      [{ result: 'hit' }, 1],
      [{ result: 'miss' }, 2],
    ]);
  });

  it('follows rotations and runs', async () => {
    const ds = await open();
    await fill(ds);
    measure(ds);
    await fieldEncryption(ds).keys.rotate();
    await fieldEncryption(ds).reencrypt({ batchSize: 1 });
    await rejection(fieldEncryption(ds).reencrypt({ columns: ['Guest.nothing'] }));
    expect(await telemetry.points('key.events')).toContainEqual([
      { event: 'keyRotated', key: 'default' },
      1,
    ]);
    const run = { mode: 'reencrypt' };
    expect(await telemetry.points('run.scanned_rows')).toEqual([[{ ...run, entity: 'Guest' }, 2]]);
    expect(await telemetry.points('run.total_rows')).toEqual([[{ ...run, entity: 'Guest' }, 2]]);
    expect(await telemetry.points('run.duration')).toEqual([
      [run, 1],
      [{ ...run, 'error.type': 'ERR_RUN_PLAN' }, 1],
    ]);
  });

  it('shows the age of keys and wrappings, and rows by the version of their key', async () => {
    let days = 90;
    const ds = await open({
      now: () => new Date(Date.now() + days * DAY_MS),
      legacyPlaintext: ['Guest.note'],
    });
    await fill(ds);
    await ds.query(`UPDATE guest SET note = '${CANARY} clear' WHERE id = 2`);
    await fieldEncryption(ds).keys.rotate();
    await ds.getRepository(Guest).insert({ id: 3, email: CANARY, note: null });
    measure(ds, { everyMs: 50 });
    await telemetry.polled(1);
    const key = { key: 'default' };
    const [active, old] = [
      { ...key, version: 2, state: 'active' },
      { ...key, version: 1, state: 'deactivated' },
    ];
    expect(await telemetry.points('rows')).toEqual([
      [{ ...at('email'), ...old }, 2],
      [{ ...at('email'), ...active }, 1],
      [{ ...at('note'), ...old }, 1],
    ]);
    expect(await telemetry.points('cleartext_rows')).toEqual(
      expect.arrayContaining([
        [at('email'), 0],
        [at('note'), 1],
      ]),
    );
    await fieldEncryption(ds).encrypt();
    await fieldEncryption(ds).reencrypt();
    await telemetry.polled(2 + (await pollsOf(telemetry)));
    expect(await telemetry.points('rows')).toEqual([
      [{ ...at('email'), ...old }, 0],
      [{ ...at('email'), ...active }, 3],
      [{ ...at('note'), ...old }, 0],
      [{ ...at('note'), ...active }, 2],
    ]);
    const ages = async (name: string): Promise<[Attributes, number][]> =>
      (await telemetry.points(name)).map(([attributes, seconds]) => [
        attributes,
        Math.floor((seconds * 1000) / DAY_MS),
      ]);
    expect(await ages('key.age')).toEqual([
      [{ key: 'branch', purpose: 'data' }, 90],
      [{ ...key, purpose: 'data' }, 90],
      [{ ...key, purpose: 'index' }, 90],
    ]);
    days = 100;
    expect(await ages('key.age')).toContainEqual([{ ...key, purpose: 'data' }, 100]);
    expect(await ages('kek.oldest_wrapping.age')).toEqual([[{ provider: 'fake' }, 100]]);
    await fieldEncryption(ds).keys.rewrap({ force: true });
    await telemetry.polled(2 + (await pollsOf(telemetry)));
    // Entries of the audit log have the time that policies go by.
    expect(await ages('kek.oldest_wrapping.age')).toEqual([[{ provider: 'fake' }, 0]]);
  });

  it('shows scopes and their rows in totals', async () => {
    const ds = await open();
    await withKeyScope({ tenant: TENANT }, () =>
      ds.getRepository(Letter).insert({ id: 1, tenantId: TENANT, text: CANARY }),
    );
    measure(ds, { everyMs: 50 });
    await telemetry.polled(1);
    const column = { entity: 'Letter', property: 'text', kind: 'tenant' };
    expect(await telemetry.points('scoped_rows')).toEqual([
      [{ ...column, state: 'active' }, 1],
      [{ ...column, state: 'older' }, 0],
      [{ ...column, state: 'erased' }, 0],
    ]);
    expect(await telemetry.points('scopes')).toEqual([[{ kind: 'tenant', state: 'active' }, 1]]);
  });

  it('counts questions that are not answered, and keeps the last answers', async () => {
    const ds = await open();
    await fill(ds);
    measure(ds, { everyMs: 50 });
    await telemetry.polled(1);
    await ds.query('DROP TABLE guest');
    for (;;) {
      const polls = await telemetry.points('status.polls');
      if (polls.some(([attributes]) => 'error.type' in attributes)) break;
      await sleep(20);
    }
    expect(await telemetry.points('rows')).not.toEqual([]);
    expect(await telemetry.points('key.age')).not.toEqual([]);
  });

  it.each([0, -1, NaN, '60000'])('refuses to ask every %p milliseconds', async (everyMs) => {
    const ds = await open();
    measure(ds);
    await fill(ds);
    const { meter } = telemetry;
    expect(() => instrument(ds, { meter, status: { everyMs: everyMs as number } })).toThrow(
      ConfigurationError,
    );
  });

  it('refuses a DataSource that is not wrapped', async () => {
    const ds = await open();
    measure(ds);
    await fill(ds);
    const unwrapped = new DataSource({ ...ds.options, entities: [] });
    expect(() => instrument(unwrapped, { meter: telemetry.meter })).toThrow(ConfigurationError);
  });

  it('is over when it is stopped, or for the rows when the DataSource is destroyed', async () => {
    const ds = await open();
    await fill(ds);
    measure(ds, { everyMs: 10 });
    await telemetry.polled(2);
    await ds.destroy();
    const polls = await telemetry.points('status.polls');
    await sleep(50);
    expect(await telemetry.points('status.polls')).toEqual(polls);
    await ds.initialize();
    await ds.getRepository(Guest).find();
    const values = await telemetry.points('values');
    expect(values.length).toBeGreaterThan(0);
    await instrumentation?.stop();
    await ds.getRepository(Guest).find();
    expect(await telemetry.points('values')).toEqual(values);
    for (const name of ['values', 'failure', 'key-cache', 'key-event', 'run-progress']) {
      expect(channel(`typeorm-field-encryption:${name}`).hasSubscribers).toBe(false);
    }
    for (const name of ['kms', 'key-load', 'run']) {
      expect(channel(`tracing:typeorm-field-encryption:${name}:start`).hasSubscribers).toBe(false);
    }
  });

  it('makes spans of calls, loads and runs, within the span that is active', async () => {
    const contexts = new AsyncLocalStorageContextManager().enable();
    context.setGlobalContextManager(contexts);
    try {
      const ds = await open();
      await fill(ds);
      await installationOf(ds).keys.close();
      measure(ds);
      await telemetry.tracer.startActiveSpan('request', async (request) => {
        await ds.getRepository(Guest).find();
        request.end();
      });
      await fieldEncryption(ds).verify();
      await installationOf(ds).keys.close();
      kms.outage = new Error(`no route to ${CANARY}`);
      await rejection(ds.getRepository(Guest).find());

      const { spans } = telemetry;
      const request = spans.find(({ name }) => name === 'request')!;
      const load = spans.find(({ name }) => name === 'field_encryption load keys')!;
      const calls = spans.filter(({ name }) => name === 'field_encryption unwrap');
      const call = calls.find(({ parentSpanContext }) => parentSpanContext !== undefined);
      const failed = calls.find(({ attributes }) => 'error.type' in attributes);
      expect(load.parentSpanContext?.spanId).toBe(request.spanContext().spanId);
      expect(call!.parentSpanContext?.spanId).toBe(request.spanContext().spanId);
      expect(call!.attributes).toEqual({ provider: 'fake', operation: 'unwrap' });
      expect(call!.status).toEqual({ code: SpanStatusCode.UNSET });
      expect(failed!.attributes).toMatchObject({ 'error.type': 'ERR_KMS_UNAVAILABLE' });
      expect(failed!.status).toEqual({
        code: SpanStatusCode.ERROR,
        message: 'ERR_KMS_UNAVAILABLE',
      });
      const run = spans.find(({ name }) => name === 'field_encryption verify')!;
      expect(run.attributes).toEqual({ mode: 'verify' });
    } finally {
      context.disable();
      contexts.disable();
    }
  });

  it('names metrics as the conventions, the rules and the dashboard have them', async () => {
    const ds = await open({ accessLog: { sink: down }, guard: { reads: { values: 1 } } });
    measure(ds, { everyMs: 50 });
    await fill(ds);
    await withKeyScope({ tenant: TENANT }, () =>
      ds.getRepository(Letter).insert({ id: 1, tenantId: TENANT, text: CANARY }),
    );
    await fieldEncryption(ds).keys.rotate();
    await fieldEncryption(ds).reencrypt();
    await installationOf(ds).keys.close();
    await ds.getRepository(Guest).find();
    await ds.query(`UPDATE guest SET note = (SELECT email FROM guest WHERE id = 2) WHERE id = 1`);
    await rejection(ds.getRepository(Guest).find());
    await rejection(fieldEncryption(ds).accessLog.flush());
    await telemetry.polled(2);
    const metrics = await telemetry.metrics();
    for (const { descriptor } of metrics) {
      expect(descriptor.name).toMatch(/^field_encryption(\.[a-z]+(_[a-z]+)*)+$/);
      expect(descriptor.unit).toMatch(/^(s|\{[a-z]+\})$/);
      expect(descriptor.description).toMatch(/\.$/);
    }
    const exposition = await telemetry.exposition();
    const exported = new Set(
      [...exposition.matchAll(/^(field_encryption_\w+)/gm)].map(([, name = '']) => name),
    );
    for (const file of ['rules.yml', 'dashboard.json']) {
      const path = join(__dirname, '../../examples/monitoring', file);
      const used = readFileSync(path, 'utf8').match(/\bfield_encryption_\w+/g) ?? [];
      expect(used.length).toBeGreaterThan(5);
      expect(used.filter((name) => !exported.has(name))).toEqual([]);
    }
    const described = new Set(metrics.map(({ descriptor }) => descriptor.name));
    const page = readFileSync(join(__dirname, '../../docs/monitoring.md'), 'utf8');
    const listed = [...page.matchAll(/^\| `(field_encryption[\w.]+)`/gm)].map(([, name]) => name);
    expect(new Set(listed)).toEqual(described);
  });
});

async function pollsOf(telemetry: Telemetry): Promise<number> {
  const [[, count] = [{}, 0]] = await telemetry.points('status.polls');
  return count;
}
