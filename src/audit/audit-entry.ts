import { hostname, userInfo } from 'node:os';

/** What happened. A run over rows is named after its command, such as `data reencrypt`. */
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
  | 'acceptEpoch'
  | `data ${string}`;

/** How it went. What changes keys is recorded with the change, and so only where it was `done`. */
export type AuditOutcome = 'started' | 'done' | 'failed';

/** The key that an operation was about, as it is after it. */
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

/** Something to be recorded. Names, ids and numbers only: no value, no token, no secret. */
export interface AuditEvent {
  readonly operation: AuditOperation;
  readonly outcome: AuditOutcome;
  readonly key?: AuditedKey;
  /** What it belongs to: id of a backup or of a run, or the reason given; at most 64 characters. */
  readonly reference?: string;
  /** Whole numbers by name, such as `{ rows: 200000 }`. */
  readonly counts?: Readonly<Record<string, number>>;
}

/** One entry of the audit log. */
export interface AuditEntry {
  /** Counts from 1, without gaps. */
  readonly seq: number;
  /** ISO 8601, UTC. By the clock of the process that wrote it; the order is that of `seq`. */
  readonly time: string;
  readonly actor: string;
  readonly operation: string;
  readonly outcome: string;
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
  /** Hash of the entry before; empty in the first. base64url, like `hash`. */
  readonly previousHash: string;
  readonly hash: string;
}

/** An entry but for its hash. */
export type UnsealedEntry = Omit<AuditEntry, 'hash'>;

/** Names a state of the log: `<seq>:<hash>`. Kept elsewhere, it proves later that nothing was cut off. */
export function headOf(entry: Pick<AuditEntry, 'seq' | 'hash'>): string {
  return `${String(entry.seq)}:${entry.hash}`;
}

/** The parts of a {@link headOf}; undefined for any other text. */
export function readHead(head: string): { seq: number; hash: string } | undefined {
  const [, seq, hash] = /^([1-9]\d{0,9}):([\w-]{43})$/.exec(head.trim()) ?? [];
  return seq === undefined || hash === undefined ? undefined : { seq: Number(seq), hash };
}

/** Options of the audit log. */
export interface AuditOptions {
  /**
   * Who does what is recorded; a function is asked each time. At most 256 characters. Defaults to
   * `user@host:pid` of the process.
   */
  actor?: string | (() => string);
  /**
   * Receives each entry before its transaction commits, in order, to be kept where those who control
   * the database have no say. An entry whose commit then fails comes with the same `seq` again. It
   * has 10 seconds.
   */
  sink?: (entry: AuditEntry) => void | Promise<void>;
  /**
   * What a failure of the sink does to the operation that is recorded: `'block'` fails it and
   * nothing is changed; `'warn'` lets it go on and emits an `auditFailed` event. Reads and writes of
   * rows never wait for either. Defaults to `'block'`.
   */
  onFailure?: 'block' | 'warn';
}

const MAX_ACTOR_CHARS = 256;

/** The actor to record, in one line. */
export function actorOf({ actor = processActor }: AuditOptions): string {
  const name = typeof actor === 'function' ? actor() : actor;
  return name.replace(/\p{Cc}/gu, ' ').slice(0, MAX_ACTOR_CHARS);
}

function processActor(): string {
  return `${userName()}@${hostname()}:${String(process.pid)}`;
}

/** In a container, the user id need not have a name. */
function userName(): string {
  try {
    return userInfo().username;
  } catch {
    return `uid ${String(process.getuid?.() ?? '?')}`;
  }
}

/**
 * The port to the table of the audit log, which is only ever appended to.
 *
 * @typeParam C - a connection, opaque to the log.
 */
export interface AuditStore<C = unknown> {
  /** False while the table does not exist. */
  exists(connection?: C): Promise<boolean>;

  /** The entries after `after`, in order of `seq`, at most `limit`. */
  list(
    range: { readonly after: number; readonly limit: number },
    connection?: C,
  ): Promise<AuditEntry[]>;

  /** The last entry about a version of this key. */
  lastOfKey(purpose: string, name: string, connection?: C): Promise<AuditEntry | undefined>;

  /** The last entries about the key of this id, at most `limit`. */
  ofKey(keyId: string, limit: number, connection?: C): Promise<AuditEntry[]>;

  /** The highest version of this key in any entry, up to `limit`; 0 for none. */
  highestVersion(
    key: { readonly purpose: string; readonly name: string; readonly limit: number },
    connection?: C,
  ): Promise<number>;

  /** The last entry. */
  last(connection?: C): Promise<AuditEntry | undefined>;

  /**
   * Adds an entry, within the transaction of this connection, whose end others who append wait for.
   * Takes no lock beside: nobody without the right to insert can keep a writer waiting.
   *
   * @returns false where another entry has its number, which can be read now.
   */
  append(entry: AuditEntry, connection: C): Promise<boolean>;

  /** Runs `work` in a transaction of its own. Transient conflicts are tried again. */
  transaction(work: (connection: C) => Promise<void>): Promise<void>;
}
