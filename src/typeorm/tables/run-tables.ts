import { EntitySchema } from 'typeorm';

/** A run over the rows of one table, which any number of workers may share. */
export interface RunRow {
  /** 32 hexadecimal digits, random. */
  id: string;
  mode: string;
  tablePath: string;
  /** Digest of the run's options; two that ask for the same share one run. */
  scope: string;
  /** Digest of the columns and the primary key: a cursor means nothing in another table. */
  structure: string;
  /** The current pass, from 0. */
  pass: number;
  state: 'running' | 'done';
  /** ISO 8601, UTC */
  startedAt: string;
  endedAt: string | null;
}

/** A range of rows between two primary keys, leased by one worker at a time. */
export interface RangeRow {
  runId: string;
  pass: number;
  /** Order within the pass, from 1. */
  seq: number;
  /** JSON array: the primary key before the first row; `null` for the beginning of the table. */
  lower: string | null;
  /** JSON array: the primary key of the last row; `null` for the end of the table. */
  upper: string | null;
  /** JSON array: the primary key of the last row that is done. */
  cursor: string | null;
  /** 0 or 1 */
  done: number;
  /** The holder of the lease: host, process and a random part. */
  owner: string;
  /** Grows with every lease, so that an earlier holder can no longer write. */
  fence: number;
  /** Milliseconds since 1970 by the clock of the database. */
  leaseUntil: string | number;
  /** Rows rewritten so far. */
  changed: number;
  /** Rows that another writer changed between read and write. */
  lost: number;
}

/** Name of the migration in `fieldEncryptionMigrations` that creates both tables. */
export const RUN_TABLES_MIGRATION = 'CreateRuns1764000001000';

/** The table of runs as TypeORM knows it. Must equal what the migration creates, as for the key table. */
export const RunSchema = new EntitySchema<RunRow>({
  name: 'FieldEncryptionRun',
  tableName: 'field_encryption_runs',
  columns: {
    id: {
      type: 'varchar',
      length: 32,
      primary: true,
      primaryKeyConstraintName: 'field_encryption_runs_pkey',
    },
    mode: { type: 'varchar', length: 16, name: 'mode' },
    tablePath: { type: 'varchar', length: 256, name: 'table_path' },
    scope: { type: 'varchar', length: 64, name: 'scope' },
    structure: { type: 'varchar', length: 64, name: 'structure' },
    pass: { type: 'integer', name: 'pass' },
    state: { type: 'varchar', length: 16, name: 'state' },
    startedAt: { type: 'varchar', length: 32, name: 'started_at' },
    endedAt: { type: 'varchar', length: 32, name: 'ended_at', nullable: true },
  },
  indices: [
    {
      name: 'field_encryption_runs_one_running',
      columns: ['mode', 'tablePath', 'scope'],
      unique: true,
      where: `"state" = 'running'`,
    },
  ],
});

const RANGE_KEY = {
  primary: true,
  primaryKeyConstraintName: 'field_encryption_ranges_pkey',
} as const;

/** See {@link RunSchema}. */
export const RangeSchema = new EntitySchema<RangeRow>({
  name: 'FieldEncryptionRange',
  tableName: 'field_encryption_ranges',
  columns: {
    runId: { type: 'varchar', length: 32, name: 'run_id', ...RANGE_KEY },
    pass: { type: 'integer', name: 'pass', ...RANGE_KEY },
    seq: { type: 'integer', name: 'seq', ...RANGE_KEY },
    lower: { type: 'text', name: 'lower_key', nullable: true },
    upper: { type: 'text', name: 'upper_key', nullable: true },
    cursor: { type: 'text', name: 'cursor_key', nullable: true },
    done: { type: 'integer', name: 'done' },
    owner: { type: 'varchar', length: 256, name: 'owner' },
    fence: { type: 'integer', name: 'fence' },
    leaseUntil: { type: 'bigint', name: 'lease_until' },
    changed: { type: 'integer', name: 'changed' },
    lost: { type: 'integer', name: 'lost' },
  },
});
