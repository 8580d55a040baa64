import type { Attributes, Meter, ObservableCallback, ObservableResult } from '@opentelemetry/api';

import type { ColumnStatus } from '../reencryption/coverage/status';

import type { KnownNames } from './attributes';
import type { PolledState } from './polled-state';

/** The most attributes of a gauge that are apart. */
const CAPACITY = 1000;
/** Those of all others, by the conventions of OpenTelemetry. */
const OVERFLOW: Attributes = { 'otel.metric.overflow': true };

/**
 * Values by their attributes, for one gauge. Those that were observed once stay, and become 0: the SDK would
 * repeat the last value of attributes that are observed no more.
 */
class Series {
  readonly #values = new Map<string, { readonly attributes: Attributes; value: number }>();

  /** Adds to the value of some attributes, by `merge`. */
  add(more: number, given: Attributes, merge = (a: number, b: number): number => a + b): void {
    const isOne = this.#values.size < CAPACITY || this.#values.has(JSON.stringify(given));
    const attributes = isOne ? given : OVERFLOW;
    const key = JSON.stringify(attributes);
    const series = this.#values.get(key) ?? { attributes, value: 0 };
    series.value = merge(series.value, more);
    this.#values.set(key, series);
  }

  /** Hands the values over, and begins again. */
  observe(result: ObservableResult): void {
    for (const series of this.#values.values()) {
      result.observe(series.value, series.attributes);
      series.value = 0;
    }
  }
}

/** What a state is seen by. */
interface View {
  /** Returns the time by which keys age. */
  readonly now: () => Date;
  readonly names: KnownNames;
}

/** A gauge of keys or rows. */
interface Gauge {
  readonly unit: string;
  readonly description: string;
  readonly observe: (state: PolledState, view: View, series: Series) => void;
}

/** By name, without the prefix. */
const GAUGES: Readonly<Record<string, Gauge>> = {
  'key.age': {
    unit: 's',
    description: 'Time since the active version of a key was activated.',
    observe: ({ keys }, { now, names }, series) => {
      for (const { name, purpose, state, activatedAt } of keys) {
        if (state !== 'active' || activatedAt === null) continue;
        const age = secondsBetween(activatedAt, now());
        series.add(age, { key: names.key(name), purpose }, Math.max);
      }
    },
  },
  'kek.oldest_wrapping.age': {
    unit: 's',
    description: 'Age of the oldest wrapping of a key by a provider, whose KEK is at least as old.',
    observe: ({ keys, wrappedAgainAt }, { now, names }, series) => {
      for (const { id, kms, createdAt } of keys) {
        const wrappedAt = wrappedAgainAt.get(id) ?? createdAt;
        const provider = names.provider(kms);
        series.add(secondsBetween(wrappedAt, now()), { provider }, Math.max);
      }
    },
  },
  rows: {
    unit: '{row}',
    description: 'Rows of a column under a version of a common key.',
    observe: ({ status = [] }, { names }, series) => {
      for (const { entity, property, keys } of status) {
        for (const { name, version, state, rows } of keys) {
          const known = name === undefined ? {} : { key: names.key(name), version, state };
          series.add(rows, { entity, property, ...known });
        }
      }
    },
  },
  cleartext_rows: {
    unit: '{row}',
    description: 'Rows of a column that hold no ciphertext.',
    observe: ({ status = [] }, _, series) => {
      for (const { entity, property, cleartextRows } of status) {
        series.add(cleartextRows, { entity, property });
      }
    },
  },
  scoped_rows: {
    unit: '{row}',
    description: 'Rows of a column under keys of scopes, over all scopes.',
    observe: ({ status = [] }, _, series) => {
      for (const column of status) addScopedRows(column, series);
    },
  },
  scopes: {
    unit: '{scope}',
    description: 'Scopes by kind and state.',
    observe: ({ status }, _, series) => {
      for (const { kind, state, scopes } of status?.scopes ?? [])
        series.add(scopes, { kind, state });
    },
  },
};

function addScopedRows({ entity, property, scopes }: ColumnStatus, series: Series): void {
  if (scopes === null) return;
  const { kind, activeRows: active, olderRows: older, erasedRows: erased } = scopes;
  for (const [state, rows] of Object.entries({ active, older, erased })) {
    series.add(rows, { entity, property, kind, state });
  }
}

function secondsBetween(earlier: Date, later: Date): number {
  return Math.max(0, (later.getTime() - earlier.getTime()) / 1000);
}

/**
 * Makes the gauges of a state, which show what it is when they are collected.
 *
 * @returns a function that takes them away.
 */
export function observeState(meter: Meter, state: PolledState, view: View): () => void {
  const removals = Object.entries(GAUGES).map(([name, { observe, ...options }]) => {
    const gauge = meter.createObservableGauge(`field_encryption.${name}`, options);
    const series = new Series();
    const collect: ObservableCallback = (result) => {
      observe(state, view, series);
      series.observe(result);
    };
    gauge.addCallback(collect);
    return () => {
      gauge.removeCallback(collect);
    };
  });
  return () => {
    for (const remove of removals) remove();
  };
}
