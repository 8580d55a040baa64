import type { Dialect } from '../dialect';

import { sqliteCatalog } from './catalog';
import { sqliteFailure } from './failures';
import { sqliteNames } from './names';
import { sqliteSql } from './sql';
import { sqliteTransactions } from './transactions';
import { sqliteValues } from './values';

export const sqlite: Dialect = {
  name: 'sqlite',
  title: 'SQLite',
  runsPgBoss: false,
  sql: sqliteSql,
  catalog: sqliteCatalog,
  transactions: sqliteTransactions,
  values: sqliteValues,
  names: sqliteNames,
  failure: sqliteFailure,
};
