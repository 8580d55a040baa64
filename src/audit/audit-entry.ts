import { hostname, userInfo } from 'node:os';

import { ConfigurationError } from '../errors';

import { currentActor } from './actor';

/** The operation of an entry. A run over rows is named after its command, such as `data reencrypt`. */
export type AuditOperation =
  | 'create'
  | 'announce'
  | 'activate'
  | 'rotate'
  | 'deactivate'
  | 'suspend'
  | 'resume'
  | 'revoke'
  | 'destroy'
  | 'rewrap'
  | 'adopt'
  | 'backup'
  | 'restore'
  | 'drill'
  | 'acceptEpoch'
  | 'sign'
  | 'shred'
  | 'cancelShred'
  | 'hold'
  | 'release'
  | 'allScopes'
  /** Attempts of too many kinds to be counted apart. */
  | 'attempts'
  | 'maintain'
  | 'access list'
  | 'approvals'
  | 'approve'
  /** A step of an incident, which `reference` names; the name of the mark says what the step is about. */
  | 'incident'
  | 'acknowledge'
  | `data ${string}`;

/**
 * The outcome of an operation. Changes of keys are recorded in their transaction, and so only as `done`. A run
 * over rows that is `interrupted` goes on when it is started again. With `access`, attempts that did not succeed
 * are recorded as well: `denied` for want of a level or of approval, `failed` for any other reason. Before an
 * operation that needed approval, its request is recorded as `approved`.
 */
export type AuditOutcome = 'started' | 'done' | 'failed' | 'interrupted' | 'denied' | 'approved';

/** The key of an operation, in its state after it. */
export interface AuditedKey {
  /** 16 hexadecimal digits. */
  readonly id: string;
  readonly name: string;
  readonly purpose: string;
  readonly version: number;
  readonly state: string;
  /** Name of the provider that wrapped the key. */
  readonly kms: string;
  /** The key-encryption key, in the provider's own terms. */
  readonly kek: string;
}

/**
 * The mark of a scope, whose id stands for the scope; `name` is the kind, such as `tenant`. Also a version of the
 * policy of approvals, or a request, with whoever signed it or asked for it as the name; that of a refused attempt has
 * no version. For an incident, its id, and its kind or a step; `kek` is the compromised one.
 */
export type AuditedMark = Pick<AuditedKey, 'id' | 'name' | 'purpose'> &
  Partial<Pick<AuditedKey, 'version' | 'kek'>>;

/** An event to be recorded. Names, ids and numbers only: no value, no token, no secret. */
export interface AuditEvent {
  readonly operation: AuditOperation;
  readonly outcome: AuditOutcome;
  readonly key?: AuditedKey;
  /** In the place of a key, for an operation on a scope. */
  readonly mark?: AuditedMark;
  /** The id of a backup or of a run, or the reason given; at most 64 characters. */
  readonly reference?: string;
  /** Whole numbers by name, such as `{ rows: 200000 }`. */
  readonly counts?: Readonly<Record<string, number>>;
}

/** One entry of the audit log. */
export interface AuditEntry {
  /** Counts from 1, without gaps. */
  readonly seq: number;
  /** ISO 8601, UTC, by the clock of the writing process. `seq` gives the order. */
  readonly time: string;
  readonly actor: string;
  readonly operation: string;
  readonly outcome: string;
  /** Of a key, or of the mark of a scope, which has no state. */
  readonly keyId: string | null;
  readonly keyName: string | null;
  readonly keyPurpose: string | null;
  readonly keyVersion: number | null;
  /** State of the key after the operation. */
  readonly keyState: string | null;
  readonly kms: string | null;
  readonly kek: string | null;
  readonly reference: string | null;
  readonly counts: Readonly<Record<string, number>>;
  /** Id of the key that seals the entry. */
  readonly sealedBy: string;
  /** Hash of the previous entry; empty in the first. base64url, like `hash`. */
  readonly previousHash: string;
  readonly hash: string;
}

/** An entry without its hash. */
export type UnsealedEntry = Omit<AuditEntry, 'hash'>;

/** Records events as the last step of a transaction. */
export type RecordEvents<C> = (events: readonly AuditEvent[], transaction: C) => Promise<void>;

/** Returns the head of the log, `<seq>:<hash>`. Kept elsewhere, it later shows whether entries were cut off. */
export function headOf(entry: Pick<AuditEntry, 'seq' | 'hash'>): string {
  return `${String(entry.seq)}:${entry.hash}`;
}

/** Reads the text of a {@link headOf}; undefined for any other. */
export function readHead(head: string): { seq: number; hash: string } | undefined {
  const [, seq, hash] = /^([1-9]\d{0,9}):([\w-]{43})$/.exec(head.trim()) ?? [];
  return seq === undefined || hash === undefined ? undefined : { seq: Number(seq), hash };
}

/** Options of the audit log. */
export interface AuditOptions {
  /**
   * The actor to record outside of {@link runAs}; a function is called each time. At most 256 characters.
   * Defaults to `user@host:pid` of the process.
   */
  actor?: string | (() => string);
  /**
   * Receives each entry before its transaction commits, in order, to keep it out of reach of those who
   * control the database. If the commit then fails, the next entry has the same `seq`. The sink has 10
   * seconds.
   */
  sink?: (entry: AuditEntry) => void | Promise<void>;
  /**
   * The effect of a failing sink on the operation that is recorded: `'block'` fails it, and nothing is
   * changed; `'warn'` lets it go on and emits an `auditFailed` event. Reads and writes of rows never wait
   * for either. Defaults to `'block'`.
   */
  onFailure?: 'block' | 'warn';
}

const MAX_ACTOR_CHARS = 256;

/**
 * Returns the actor to record, in one line.
 *
 * @throws {@link ConfigurationError} where the application's function returns no text
 */
export function actorOf({ actor = processActor }: AuditOptions): string {
  const name: unknown = currentActor()?.id ?? (typeof actor === 'function' ? actor() : actor);
  if (typeof name !== 'string') throw new ConfigurationError('`audit.actor` must return a text.');
  return inOneLine(name.slice(0, MAX_ACTOR_CHARS));
}

/**
 * Returns text without control characters and line separators, which would break a list, and which PostgreSQL may not
 * store; without such that turn the direction of text, by which a list would seem to say something else; nor lone
 * surrogates, which come back from a database as another character, so that the entry would not be what was sealed.
 */
export function inOneLine(text: string): string {
  return text.replace(/[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\u202A-\u202E\u2066-\u2069]/gu, ' ');
}

/** What {@link processActor} has found out of the system, which every use of a value would ask again. */
let known: string | undefined;

function processActor(): string {
  known ??= `${userName()}@${hostname()}:${String(process.pid)}`;
  return known;
}

/** Falls back to the user id, which need not have a name in a container. */
function userName(): string {
  try {
    return userInfo().username;
  } catch {
    return `uid ${String(process.getuid?.() ?? '?')}`;
  }
}

/** The entries to list. */
export interface AuditRange {
  /** The entries that follow the one of this number, from there on. Defaults to the newest entries. */
  readonly after?: number;
  /** The most entries. Defaults to 100. */
  readonly limit?: number;
  /** Entries from this time on, by the clocks of the processes that wrote them. */
  readonly since?: Date;
  /** Entries of this operation, such as `rotate` or `data reencrypt`. */
  readonly operation?: string;
  /** Entries of this outcome, such as `denied` or `approved`. */
  readonly outcome?: string;
  /** Entries whose actor begins with this text: by default an actor ends with the number of its process. */
  readonly actor?: string;
}

/**
 * The port to the append-only table of the audit log.
 *
 * @typeParam C - a connection, opaque to the log.
 */
export interface AuditStore<C = unknown> {
  /** Whether the table exists. */
  exists(connection?: C): Promise<boolean>;

  /** Returns at most `limit` entries in order of `seq`: those after `after`, or else the last ones. */
  list(range: AuditRange & { readonly limit: number }, connection?: C): Promise<AuditEntry[]>;

  /** Returns the last entry about a version of this key. */
  lastOfKey(purpose: string, name: string, connection?: C): Promise<AuditEntry | undefined>;

  /** Returns the last entries about the key of this id, at most `limit`. */
  ofKey(keyId: string, limit: number, connection?: C): Promise<AuditEntry[]>;

  /** Returns the highest version of this key in any entry, up to `limit`; 0 for none. */
  highestVersion(
    key: { readonly purpose: string; readonly name: string; readonly limit: number },
    connection?: C,
  ): Promise<number>;

  /** Returns the last entries with this reference, at most `limit`. */
  referringTo(reference: string, limit: number, connection?: C): Promise<AuditEntry[]>;

  /**
   * Returns the last entry.
   *
   * @param taken - a number that another entry has: of a transaction that sees no later one, that entry.
   */
  last(connection?: C, taken?: number): Promise<AuditEntry | undefined>;

  /**
   * Adds an entry within the transaction of this connection. Other writers wait for the end of that. Takes
   * no other lock: nobody without the right to insert can keep a writer waiting.
   *
   * @returns false if another entry has its number, which can be read by then.
   */
  append(entry: AuditEntry, connection: C): Promise<boolean>;

  /** Runs `work` in a transaction of its own. Transient conflicts are retried. */
  transaction(work: (connection: C) => Promise<void>): Promise<void>;
}
