import type { EntityMetadata, QueryRunner, TableCheck } from 'typeorm';

/** The CHECK constraints of a database for which TypeORM neither reads nor makes any. */
export interface CheckConstraints {
  /** Fetches those of a table; none if it does not exist. */
  of(runner: QueryRunner, metadata: EntityMetadata): Promise<TableCheck[]>;
  /** The part of an ALTER TABLE that adds one. */
  add(check: TableCheck): string;
  /** The part of an ALTER TABLE that drops one. */
  drop(check: TableCheck): string;
}
