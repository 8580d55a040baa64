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
