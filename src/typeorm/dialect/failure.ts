/** Failures of a statement that the library tells apart. */
export type Failure =
  /** Goes away by itself: a serialization failure, a deadlock or a busy file. */
  | 'transient'
  /** A wait for a lock timed out. */
  | 'lockTimeout'
  /** A unique index refused a row. */
  | 'notUnique'
  /** A statement is longer than the server takes. */
  | 'tooLarge'
  /** The role lacks a right. */
  | 'forbidden'
  /** There is no such table or column. */
  | 'missing';

/** The error of a driver. Those of better-sqlite3, and of native modules, may be of another realm. */
export interface DriverError {
  /** The driver's own code; empty if there is none. */
  readonly code: string;
  readonly message: string;
}
