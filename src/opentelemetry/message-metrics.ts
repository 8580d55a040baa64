import type { Attributes, Histogram, Meter, MetricOptions } from '@opentelemetry/api';

import { currentActor } from '../audit/actor';
import type { Actor } from '../audit/actor';
import type { KeyEvent, KeyEventMessage } from '../keys/record/key-event';
import { channels } from '../telemetry/channels';
import type { WorkMessage } from '../telemetry/channels';
import type { Listeners } from '../telemetry/listeners';

import { errorType } from './attributes';
import type { KnownNames } from './attributes';

/** Seconds, as the semantic conventions have them for calls. */
const CALLS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];
const RUNS = [1, 10, 60, 600, 3600, 4 * 3600, 24 * 3600];

/** Returns the name under which values of an actor are counted; undefined for none. */
export type ActorAttribute = (actor: Actor | undefined) => string | undefined;

/** Counts what messages tell. */
export function countMessages(
  listeners: Listeners,
  meter: Meter,
  { actorOf, names }: { readonly actorOf: ActorAttribute | undefined; readonly names: KnownNames },
): void {
  countValues(listeners, meter, actorOf);
  countKeys(listeners, meter, names);
  followRuns(listeners, meter);
}

function countValues(listeners: Listeners, meter: Meter, actorOf?: ActorAttribute): void {
  const values = meter.createCounter('field_encryption.values', {
    unit: '{value}',
    description: 'Values encrypted, decrypted and looked up.',
  });
  const failures = meter.createCounter('field_encryption.failures', {
    unit: '{failure}',
    description: 'Values that could not be encrypted, decrypted or looked up.',
  });
  const notices = meter.createCounter('field_encryption.guard.notices', {
    unit: '{notice}',
    description: 'Observations of the guard.',
  });
  listeners
    .on(channels.values, ({ operation, entity, property, values: count }) => {
      const actor = actorAttribute(actorOf);
      values.add(count, { operation, entity, property, ...(actor === undefined ? {} : { actor }) });
    })
    .on(channels.guard, ({ level, subject }) => {
      notices.add(1, { level, subject });
    })
    .on(channels.failure, ({ operation, entity, property, code }) => {
      const where = entity === undefined || property === undefined ? {} : { entity, property };
      failures.add(1, { operation, ...where, 'error.type': code });
    });
}

/** Returns the attribute of the actor at work; of none if the application's function throws. */
function actorAttribute(actorOf: ActorAttribute | undefined): string | undefined {
  try {
    return actorOf?.(currentActor());
  } catch {
    return undefined;
  }
}

function countKeys(listeners: Listeners, meter: Meter, names: KnownNames): void {
  const kms = meter.createHistogram(
    'field_encryption.kms.duration',
    inSeconds('Duration of calls to key services.', CALLS),
  );
  const loads = meter.createHistogram(
    'field_encryption.key_load.duration',
    inSeconds('Duration of loads of keys from their tables and the key service.', CALLS),
  );
  const requests = meter.createCounter('field_encryption.key_cache.requests', {
    unit: '{key}',
    description: 'Data keys that results needed, by whether they were in memory.',
  });
  const events = meter.createCounter('field_encryption.key.events', {
    unit: '{event}',
    description: 'Events in the life of keys.',
  });
  const dropped = meter.createCounter('field_encryption.access_log.dropped', {
    unit: '{value}',
    description: 'Values whose uses are in no entry of the access log.',
  });
  listeners
    .onWork(
      channels.kms,
      timed(kms, ({ provider, operation }) => ({ provider, operation })),
    )
    .onWork(
      channels.keyLoad,
      timed(loads, () => ({})),
    )
    .on(channels.keyCache, ({ hits, misses }) => {
      if (hits > 0) requests.add(hits, { result: 'hit' });
      if (misses > 0) requests.add(misses, { result: 'miss' });
    })
    .on(channels.keyEvent, ({ event }: KeyEventMessage) => {
      events.add(1, eventAttributes(event, names));
      if (event.type === 'accessLogFailed') dropped.add(event.dropped);
    });
}

function followRuns(listeners: Listeners, meter: Meter): void {
  const runs = meter.createHistogram(
    'field_encryption.run.duration',
    inSeconds('Duration of runs over the rows.', RUNS),
  );
  const scanned = meter.createGauge('field_encryption.run.scanned_rows', {
    unit: '{row}',
    description: 'Rows that the last run of a mode has looked at.',
  });
  const total = meter.createGauge('field_encryption.run.total_rows', {
    unit: '{row}',
    description: 'Rows that the last run of a mode is about.',
  });
  listeners
    .onWork(
      channels.run,
      timed(runs, ({ mode }) => ({ mode })),
    )
    .on(channels.runProgress, ({ mode, entity, ...rows }) => {
      scanned.record(rows.scanned, { mode, entity });
      total.record(rows.total, { mode, entity });
    });
}

function eventAttributes(event: KeyEvent, names: KnownNames): Attributes {
  const key = 'keyName' in event ? event.keyName : undefined;
  const code = 'code' in event ? event.code : undefined;
  return {
    event: event.type,
    ...(key === undefined ? {} : { key: names.key(key) }),
    ...(code === undefined ? {} : { 'error.type': code }),
  };
}

function timed<M extends WorkMessage>(
  histogram: Histogram,
  attributesOf: (message: M) => Attributes,
): (message: M) => () => void {
  return (message) => {
    const startedAt = performance.now();
    return () => {
      const seconds = (performance.now() - startedAt) / 1000;
      histogram.record(seconds, { ...attributesOf(message), ...errorType(message) });
    };
  };
}

function inSeconds(description: string, explicitBucketBoundaries: number[]): MetricOptions {
  return { unit: 's', description, advice: { explicitBucketBoundaries } };
}
