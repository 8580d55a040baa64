import type { DataSource, EntityMetadata, QueryResult } from 'typeorm';

import type { CheckConstraints } from './check-constraints';
import type { DatabaseCatalog } from './database-catalog';
import type { DriverError, Failure } from './failure';
import type { LexicalRules } from './lexical-rules';
import type { NameRules } from './name-rules';
import type { OwnTables } from './own-tables';
import type { SecretsOf } from './secret-rows';
import type { SqlForms } from './sql-forms';
import type { Transactions } from './transactions';
import type { ValueRules } from './value-rules';

/** The port for what differs between databases: each is one folder beside this file. */
export interface Dialect {
  readonly name: DialectName;
  /** Its name for people. */
  readonly title: string;
  /** Whether pg-boss can keep its queue in it. */
  readonly runsPgBoss: boolean;
  /**
   * Prototypes of TypeORM's query runners that send a copy of a statement's parameters, and tell subscribers of
   * them before `query` returns.
   */
  readonly copyingRunners: readonly object[];
  readonly sql: SqlForms;
  readonly lexicalRules: LexicalRules;
  readonly catalog: DatabaseCatalog;
  readonly transactions: Transactions;
  readonly values: ValueRules;
  readonly names: NameRules;
  /** CHECK constraints; left out where TypeORM reads and makes them. */
  readonly checks?: CheckConstraints;
  /** Left out where TypeORM's schema builder can make the library's own tables. */
  readonly ownTables?: OwnTables;
  /**
   * Refuses a server, settings of its sessions, or kinds of these tables, under which values could be lost; left out where
   * there are none.
   *
   * @throws {@link ConfigurationError}
   */
  requireSettings?(dataSource: DataSource, tables: readonly EntityMetadata[]): Promise<void>;
  /**
   * Refuses what an INSERT that leaves out rows which are there has forgiven besides, by its result and the number of
   * its rows; left out where it forgives no change of a value.
   *
   * @throws {@link ConfigurationError}
   */
  requireOnlyLeftOut?(result: QueryResult, rows: number): void;
  /**
   * Removes rows with secrets from the errors of a DataSource's driver, before TypeORM has them; left out where
   * errors name only constraints and columns.
   */
  redactFailingRows?(dataSource: DataSource, secretsOf: SecretsOf): void;
  /** Recognizes the errors of its drivers, and of no other's: errors are met without their DataSource. */
  failure(error: DriverError): Failure | undefined;
}

/** The databases that there is a dialect of. */
export type DialectName = 'mysql' | 'postgres' | 'sqlite';
