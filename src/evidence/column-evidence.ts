import type { IndexStatus } from '../reencryption/coverage/index-status';
import type { ColumnStatus } from '../reencryption/coverage/status';

import type { Plain } from './plain';

/** Rows of a column; see {@link ColumnStatus}, whose SQL this adds. */
export interface ColumnEvidence extends Plain<ColumnStatus> {
  /** Yields the counts of rows, but for erased scopes those of cleartext in them. */
  readonly sql: string;
  readonly keyName: string;
  readonly type: string;
  readonly storage: 'text' | 'binary';
  /** Columns that the ciphertexts are bound to. */
  readonly boundTo: readonly string[];
  /** Whether reads give out a sealed value, which `reveal()` opens. */
  readonly sealed: boolean;
  /** Whether the configuration lets rows be cleartext, or in the format of another library. */
  readonly inTransition: boolean;
  readonly indexes: readonly IndexEvidence[];
  readonly check: CheckEvidence;
  readonly sample: SampleEvidence;
}

export interface IndexEvidence extends Omit<Plain<IndexStatus>, 'entity' | 'property' | 'table'> {
  readonly name: string;
  readonly unique: boolean;
  /** Bits of a token; fewer than 256 are truncated on purpose. */
  readonly bits: number;
  /** Yields `rowsWithoutToken`; `null` where nothing was counted. */
  readonly sql: string | null;
}

/** The CHECK constraint that keeps cleartext out of a column. */
export interface CheckEvidence {
  /** `null` where the configuration wants none. */
  readonly name: string | null;
  readonly present: boolean;
  /** The name of one that is from before the column changed; `null` without. */
  readonly outdated: string | null;
}

/** Rows that were read: the first ones and the last ones by primary key. */
export interface SampleEvidence {
  readonly sql: readonly string[];
  /** Values that were read. */
  readonly values: number;
  /** Values whose authentication tag was verified. */
  readonly verified: number;
  /** How many were not, by the code of the error. */
  readonly failures: Readonly<Record<string, number>>;
  /** Verified values of at least six bytes, which were sought in all stored columns of their row. */
  readonly sought: number;
  /** Columns that hold the plaintext of such a value, and in how many rows. */
  readonly readableIn: Readonly<Record<string, number>>;
}

export interface UnencryptedColumn {
  readonly entity: string;
  readonly property: string;
  readonly table: string;
  readonly column: string;
  readonly type: string;
}

export interface UnmappedEvidence {
  /** How many text columns that no entity maps were searched. */
  readonly searched: number;
  /** Those with values that begin like ciphertexts under a known key. */
  readonly found: readonly {
    readonly table: string;
    readonly column: string;
    readonly rows: number;
    /** Counts for all columns of the table, each under its name. */
    readonly sql: string;
  }[];
}
