import type { Logger } from 'typeorm';

import { inDoubleQuotes } from './sql-of';

/** A statement as TypeORM has sent it. */
export interface Statement {
  readonly sql: string;
  readonly parameters: readonly unknown[];
}

/** A TypeORM logger that keeps every statement, failed ones included. */
export class StatementLog implements Logger {
  readonly statements: Statement[] = [];

  logQuery(sql: string, parameters: readonly unknown[] = []): void {
    this.statements.push({ sql, parameters });
  }

  logQueryError(): void {}
  logQuerySlow(): void {}
  logSchemaBuild(): void {}
  logMigration(): void {}
  // eslint-disable-next-line @typescript-eslint/no-unused-vars -- for those who keep what is logged.
  log(level?: unknown, message?: unknown): void {}

  /**
   * The statements that begin with a verb, such as 'UPDATE'; all of them without one. Names are in double
   * quotes, whatever the database.
   */
  of(verb = ''): string[] {
    return this.statements
      .map(({ sql }) => inDoubleQuotes(sql))
      .filter((sql) => sql.trimStart().startsWith(verb));
  }

  /** The INSERT, UPDATE and DELETE statements. */
  writes(): string[] {
    return this.of().filter((sql) => /^\s*(?:INSERT|UPDATE|DELETE)\b/.test(sql));
  }

  clear(): void {
    this.statements.length = 0;
  }
}

/** A {@link StatementLog} that keeps warnings, too. */
export class WarningLog extends StatementLog {
  readonly warnings: unknown[] = [];
  override log(level: unknown, message: unknown): void {
    if (level === 'warn') this.warnings.push(message);
  }
}
