import type { DataSource } from 'typeorm';

import { dialectOf } from '../../../typeorm/dialect/dialect-of';
import { PageReads } from '../page-reads';
import type { PageDialect, RawRow } from '../page-sql';
import type { RunDatabase } from '../run-database';

const DIALECT: PageDialect = {
  key: ({ name }) => name,
  parameter: () => '?',
  bound: () => '?',
  version: {},
};

/** To come. */
export class MysqlRunDatabase extends PageReads implements RunDatabase {
  readonly now: string;
  readonly concurrency = 2;

  constructor(dataSource: DataSource) {
    super(DIALECT);
    this.now = dialectOf(dataSource).sql.now;
  }

  maxRows(): number {
    throw new Error('to come');
  }

  beginsWith(): string {
    throw new Error('to come');
  }

  columnTypes(): Promise<ReadonlyMap<string, string>> {
    throw new Error('to come');
  }

  writePage(): Promise<number | undefined> {
    throw new Error('to come');
  }

  keyProblem(): Promise<Error | undefined> {
    throw new Error('to come');
  }

  reportedKey(): readonly unknown[] {
    throw new Error('to come');
  }

  protected override rows(): Promise<RawRow[]> {
    throw new Error('to come');
  }
}
