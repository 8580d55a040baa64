/** What is done with a value: decrypted, looked up by, or a sealed one revealed. */
export type AccessOperation = 'decrypt' | 'lookup' | 'reveal';

/** One entry of the access log: how often somebody has used values of a property in a minute. */
export interface AccessEntry {
  /** The process that wrote the entry, from one `initialize()` on: 16 hexadecimal digits, random. */
  readonly writer: string;
  /** Number of the entry among those of its writer, from 1 on without gaps. */
  readonly seq: number;
  /** Beginning of the minute, ISO 8601, UTC. */
  readonly time: string;
  /** `null` for all actors together that were beyond the first 10,000 combinations between two writes. */
  readonly actor: string | null;
  readonly operation: AccessOperation;
  readonly entity: string;
  readonly property: string;
  /** How many values. */
  readonly values: number;
  /** The row of a value that was revealed, as text; `null` for counts. */
  readonly primaryKey: readonly string[] | null;
  /** The reason that the actor gave, for values that were revealed or read by `breakGlass`. */
  readonly reason: string | null;
}

/** An entry before it has a number. */
export type UnnumberedEntry = Omit<AccessEntry, 'writer' | 'seq'>;

/** Hands entries on: all of them, or none and throws. Gets the same ones again then. */
export type WriteEntries = (entries: readonly UnnumberedEntry[]) => Promise<void>;

/** Options of the access log. */
export interface AccessLogOptions {
  /**
   * Receives the entries of about a minute, in order, instead of the table `field_encryption_access`. It has 15
   * seconds, and gets them again if it fails. Defaults to the table.
   */
  readonly sink?: (entries: readonly AccessEntry[]) => void | Promise<void>;
}

/** The entries to list. */
export interface AccessRange {
  /** Entries whose actor begins with this text. */
  readonly actor?: string;
  /** Entries of this property, `Entity.property`. */
  readonly column?: string;
  /** Entries of values that were revealed of the row with this primary key, as text. */
  readonly row?: readonly string[];
  /** Entries from the minute of this time on. Defaults to a day ago. */
  readonly since?: Date;
  /** The most entries, the newest. Defaults to 100. */
  readonly limit?: number;
}
