import type { Meter, ObservableCallback, Tracer } from '@opentelemetry/api';
import type { DataSource } from 'typeorm';

import { Repetition } from '../async/repetition';
import { ConfigurationError } from '../errors';
import { fieldEncryption } from '../field-encryption';
import { Listeners } from '../telemetry/listeners';
import { installationOf } from '../typeorm/installation/installations';
import type { Installation } from '../typeorm/installation/installation';

import { errorType, knownNames } from './attributes';
import { countMessages } from './message-metrics';
import type { ActorAttribute } from './message-metrics';
import { PolledState } from './polled-state';
import { traceWork } from './spans';
import { observeState } from './state-gauges';

/** Options of {@link instrument}. */
export interface InstrumentOptions {
  /** Makes the metrics. */
  readonly meter: Meter;
  /** Makes spans of calls to key services, loads of keys and runs over the rows. Defaults to none. */
  readonly tracer?: Tracer | undefined;
  /**
   * Returns the attribute `actor` of values, such as a role or a pseudonym: each is a time series of its own, and
   * metrics go to many. Defaults to no such attribute.
   */
  readonly actorOf?: ActorAttribute | undefined;
  /**
   * Also makes gauges of keys and rows, from the key table, the audit log and `status()`. **In one process
   * only**: it reads whole tables, and all processes would report the same. Defaults to none.
   */
  readonly status?:
    { /** Milliseconds from one time to the next. */ readonly everyMs: number } | undefined;
}

/** The metrics and spans of a DataSource. */
export interface Instrumentation {
  /** Ends them, once what is being asked of the database has been answered. */
  stop(): Promise<void>;
}

/**
 * Makes metrics and spans of the encryption of a DataSource. None has a value, a ciphertext, a token or the id
 * of a key, person or scope as an attribute, nor the message of an error.
 *
 * @throws {@link ConfigurationError} for a DataSource that is not wrapped by `withFieldEncryption`, and for an
 * `everyMs` that is not a number above 0
 */
export function instrument(
  dataSource: DataSource,
  { meter, tracer, actorOf, status }: InstrumentOptions,
): Instrumentation {
  const installation = installationOf(dataSource);
  const stopPolling = status && poll(installation, meter, status.everyMs);
  const listeners = new Listeners(dataSource);
  countMessages(listeners, meter, { actorOf, names: knownNames(installation) });
  if (tracer !== undefined) traceWork(listeners, tracer);
  const stopSizes = observeSizes(installation, meter);
  return {
    stop: async () => {
      listeners.stop();
      for (const stop of stopSizes) stop();
      await stopPolling?.();
    },
  };
}

/** Makes gauges of what is in memory. Returns what takes them away. */
function observeSizes(installation: Installation, meter: Meter): (() => void)[] {
  const sizes = [
    ['key_cache.size', '{key}', 'Data keys for reading that are in memory.'],
    ['access_log.waiting', '{entry}', 'Entries of the access log that are not written yet.'],
  ] as const;
  return sizes.map(([name, unit, description]) => {
    const gauge = meter.createObservableGauge(`field_encryption.${name}`, { unit, description });
    const collect: ObservableCallback = (result) => {
      const isOfKeys = name === 'key_cache.size';
      result.observe(
        isOfKeys ? installation.keys.keysInMemory : (installation.accessLog?.size ?? 0),
      );
    };
    gauge.addCallback(collect);
    return () => {
      gauge.removeCallback(collect);
    };
  });
}

/** Asks for keys and rows until it is stopped or the DataSource destroyed. */
function poll(installation: Installation, meter: Meter, everyMs: number): () => Promise<void> {
  if (!Number.isFinite(everyMs) || everyMs <= 0) {
    throw new ConfigurationError(
      `status.everyMs is ${String(everyMs)}, want a number of milliseconds above 0.`,
    );
  }
  const { dataSource, options } = installation;
  const state = new PolledState();
  const polls = meter.createCounter('field_encryption.status.polls', {
    unit: '{poll}',
    description: 'Times that keys and rows were asked for.',
  });
  const repetition = new Repetition(async () => {
    try {
      await state.refresh(fieldEncryption(dataSource));
      polls.add(1);
    } catch (error) {
      polls.add(1, errorType({ error }));
    }
  }, everyMs);
  installation.schedules.add(repetition);
  const stopGauges = observeState(meter, state, {
    now: () => options.now?.() ?? new Date(),
    names: knownNames(installation),
  });
  return async () => {
    stopGauges();
    await repetition.stop();
  };
}
