import { channel, tracingChannel } from 'node:diagnostics_channel';
import type { Channel, TracingChannel } from 'node:diagnostics_channel';

import type { FieldEncryptionErrorCode } from '../errors';

/** The names of all channels begin with this. */
const PREFIX = 'typeorm-field-encryption:';

/** What every message says. */
export interface TelemetryMessage {
  /** The DataSource, or whatever else has the keys. Not enumerable, so that a logged message does not show it. */
  readonly source: object;
}

/** What is done with a value. */
type Operation = 'encrypt' | 'decrypt' | 'lookup';

/** Values of one property that a statement writes or looks up, or that its result holds. */
export interface ValuesMessage extends TelemetryMessage {
  readonly operation: Operation;
  readonly entity: string;
  readonly property: string;
  /** How many that are not `null`. */
  readonly values: number;
}

/** A value that could not be encrypted, decrypted or looked up. */
export interface FailureMessage extends TelemetryMessage {
  readonly operation: Operation;
  /** Undefined where the property is not known. */
  readonly entity: string | undefined;
  readonly property: string | undefined;
  readonly code: FieldEncryptionErrorCode;
}

/** A sealed value that was revealed. */
export interface RevealMessage extends TelemetryMessage {
  readonly entity: string;
  readonly property: string;
  /** The primary key of the row, as text. */
  readonly primaryKey: readonly string[];
}

/** The data keys that a result was read with. */
export interface KeyCacheMessage extends TelemetryMessage {
  readonly hits: number;
  /** Those that were not in memory, and have to come from the key table. */
  readonly misses: number;
}

/** What a message about work says, which is the same object from its start to its end. */
export interface WorkMessage extends TelemetryMessage {
  /** The error that the caller gets, once the work has failed. */
  readonly error?: unknown;
}

/** A call to a key service. */
export interface KmsMessage extends WorkMessage {
  /** Name of the provider. */
  readonly provider: string;
  readonly operation: 'wrap' | 'unwrap';
}

/** A load of keys from their tables and the KMS. */
export type KeyLoadMessage = WorkMessage;

/** A run over rows, or a worker's share in it. */
export interface RunMessage extends WorkMessage {
  readonly mode: string;
}

/** The progress of a run. */
export interface RunProgressMessage extends TelemetryMessage {
  readonly mode: string;
  readonly entity: string;
  /** Rows looked at so far, and rows in all tables. */
  readonly scanned: number;
  readonly total: number;
}

/** A channel of one kind of messages. */
export interface MessageChannel<M> extends Pick<Channel, 'name' | 'hasSubscribers'> {
  publish: (message: M) => void;
}

/** A channel of what takes time. */
export interface WorkChannel<M extends WorkMessage> {
  readonly start: MessageChannel<M>;
  /** Whether or not the work failed. */
  readonly asyncEnd: MessageChannel<M>;
  tracePromise: <T>(work: () => Promise<T>, message: M) => Promise<T>;
}

/**
 * The channels of `node:diagnostics_channel` to which the library publishes: for each statement, result or call,
 * never for each value, and with names and numbers only. Check `hasSubscribers` before making a message.
 */
export const channels = {
  /** `…:values` */
  values: named<ValuesMessage>('values'),
  /** `…:failure` */
  failure: named<FailureMessage>('failure'),
  /** `…:reveal` */
  reveal: named<RevealMessage>('reveal'),
  /** `…:key-cache` */
  keyCache: named<KeyCacheMessage>('key-cache'),
  /** `…:key-event` */
  keyEvent: named<TelemetryMessage & { readonly event: { readonly type: string } }>('key-event'),
  /** `…:run-progress` */
  runProgress: named<RunProgressMessage>('run-progress'),
  /** `tracing:…:kms:start`, `end`, `asyncStart`, `asyncEnd`, `error` */
  kms: timed<KmsMessage>('kms'),
  /** `tracing:…:key-load:start` and so on */
  keyLoad: timed<KeyLoadMessage>('key-load'),
  /** `tracing:…:run:start` and so on */
  run: timed<RunMessage>('run'),
};

function named<M extends TelemetryMessage>(name: string): MessageChannel<M> {
  const told = channel(PREFIX + name);
  return {
    name: told.name,
    get hasSubscribers() {
      return told.hasSubscribers;
    },
    publish: (message) => {
      told.publish(hideSource(message));
    },
  };
}

/** Hides the DataSource from listeners that log a message: its options have the password of the database. */
function hideSource<M extends TelemetryMessage>(message: M): M {
  return Object.defineProperty(message, 'source', { enumerable: false });
}

function timed<M extends WorkMessage>(name: string): WorkChannel<M> {
  const traced = tracingChannel<unknown, M>(PREFIX + name);
  const { start, asyncEnd } = traced;
  return { start, asyncEnd, tracePromise: withoutResult(traced) };
}

/** Traces work, and keeps its result out of the message: it may be the bytes of a key. */
function withoutResult<M extends WorkMessage>(
  traced: TracingChannel<unknown, M>,
): WorkChannel<M>['tracePromise'] {
  return async <T>(work: () => Promise<T>, message: M) => {
    const results: T[] = [];
    await traced.tracePromise(async () => {
      results.push(await work());
    }, hideSource(message));
    return results[0] as T;
  };
}
