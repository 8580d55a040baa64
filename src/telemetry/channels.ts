import { channel, tracingChannel } from 'node:diagnostics_channel';

import type { FieldEncryptionErrorCode } from '../errors';

/** The names of all channels begin with this. */
const PREFIX = 'typeorm-field-encryption:';

/** What every message says. */
interface Message {
  /** The DataSource, or whatever else has the keys. */
  readonly source: object;
}

/** What is done with a value. */
type Operation = 'encrypt' | 'decrypt' | 'lookup';

/** Values of one property that a statement writes or looks up, or that its result holds. */
export interface ValuesMessage extends Message {
  readonly operation: Operation;
  readonly entity: string;
  readonly property: string;
  /** How many that are not `null`. */
  readonly values: number;
}

/** A value that could not be encrypted, decrypted or looked up. */
export interface FailureMessage extends Message {
  readonly operation: Operation;
  /** Undefined where the property is not known. */
  readonly entity: string | undefined;
  readonly property: string | undefined;
  readonly code: FieldEncryptionErrorCode;
}

/** A sealed value that was revealed. */
export interface RevealMessage extends Message {
  readonly entity: string;
  readonly property: string;
  /** The primary key of the row, as text. */
  readonly primaryKey: readonly string[];
}

/** The data keys that a result was read with. */
export interface KeyCacheMessage extends Message {
  readonly hits: number;
  /** Those that were read from the key table. */
  readonly misses: number;
}

/** An event in the life of keys. */
export interface KeyEventMessage extends Message {
  readonly event: object;
}

/** A call to a key service. With `error` once it has failed. */
export interface KmsMessage extends Message {
  /** Name of the provider. */
  readonly provider: string;
  readonly operation: 'wrap' | 'unwrap';
  readonly error?: unknown;
}

/** A load of keys from their tables and the KMS. With `error` once it has failed. */
export interface KeyLoadMessage extends Message {
  readonly error?: unknown;
}

/** A run over rows, or a worker's share in it. With `error` once it has failed. */
export interface RunMessage extends Message {
  readonly mode: string;
  readonly error?: unknown;
}

/** The progress of a run. */
export interface RunProgressMessage extends Message {
  readonly mode: string;
  readonly entity: string;
  /** Rows looked at so far, and rows in all tables. */
  readonly scanned: number;
  readonly total: number;
}

/** A channel of one kind of messages. */
interface MessageChannel<M> {
  readonly hasSubscribers: boolean;
  publish: (message: M) => void;
}

/** A channel of what takes time. */
interface WorkChannel<M extends object> {
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
  keyEvent: named<KeyEventMessage>('key-event'),
  /** `…:run-progress` */
  runProgress: named<RunProgressMessage>('run-progress'),
  /** `tracing:…:kms:start`, `end`, `asyncStart`, `asyncEnd`, `error` */
  kms: timed<KmsMessage>('kms'),
  /** `tracing:…:key-load:start` and so on */
  keyLoad: timed<KeyLoadMessage>('key-load'),
  /** `tracing:…:run:start` and so on */
  run: timed<RunMessage>('run'),
};

function named<M>(name: string): MessageChannel<M> {
  return channel(PREFIX + name);
}

function timed<M extends object>(name: string): WorkChannel<M> {
  return tracingChannel(PREFIX + name);
}
