import type { QueryRunner, TableCheck, TableColumn, TableIndex } from 'typeorm';

import type { EncryptedTable } from '../reencryption/encrypted-table';
import type { EncryptedColumn } from '../typeorm/metadata/encrypted-column';

import type { ExpandedTable } from './expanded-table';
import type { MigrationScript } from './migration-draft';

/** The constraints that a table lacks, and those that it has too much. */
export interface CheckChanges {
  readonly missing: readonly TableCheck[];
  readonly outdated: readonly TableCheck[];
}

/** The table of a migration that adds constraints. */
export interface CheckedTable {
  readonly runner: QueryRunner;
  readonly table: EncryptedTable;
  readonly script: MigrationScript;
}

/** The port for what differs between databases in migrations of columns that become encrypted. */
export interface SchemaChanges {
  /** Changes columns so that they hold ciphertext beside their cleartext. */
  readonly expandColumns: (
    target: ExpandedTable,
    columns: readonly EncryptedColumn[],
  ) => Promise<void>;
  /** Adds columns of tokens and their indexes; left out where TypeORM's own statements do. */
  readonly addIndexes?: (
    target: ExpandedTable,
    columns: readonly TableColumn[],
    indexes: readonly TableIndex[],
  ) => Promise<void>;
  /** Changes CHECK constraints. Returns what validates the rows in a migration of its own, if it takes one. */
  readonly changeChecks: (checked: CheckedTable, changes: CheckChanges) => Promise<string[]>;
  /** Returns what builds an index while the application writes; left out where nothing does. */
  readonly buildConcurrently?: (table: string, index: TableIndex) => IndexBuild;
}

/** Statements that build an index and drop it, also one whose build was interrupted. */
export interface IndexBuild {
  readonly create: string;
  readonly drop: string;
}
