import type { EntityMetadata, QueryRunner, TableCheck } from 'typeorm';

/** The CHECK constraints of a database for which TypeORM neither reads nor makes any. */
export interface CheckConstraints {
  /** Fetches those of a table; none if it does not exist. */
  readonly of: (runner: QueryRunner, metadata: EntityMetadata) => Promise<TableCheck[]>;
  /** The part of an ALTER TABLE that adds one. */
  readonly add: (check: Pick<TableCheck, 'expression' | 'name'>) => string;
  /** The part of an ALTER TABLE that drops one. */
  readonly drop: (check: Pick<TableCheck, 'name'>) => string;
}
