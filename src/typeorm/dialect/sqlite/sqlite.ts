import type { Dialect } from '../dialect';

import { sqliteFailure } from './failures';
import { sqliteNames } from './names';
import { sqliteSql } from './sql';
import { sqliteValues } from './values';

export const sqlite: Dialect = {
  name: 'sqlite',
  title: 'SQLite',
  sql: sqliteSql,
  values: sqliteValues,
  names: sqliteNames,
  failure: sqliteFailure,
};
