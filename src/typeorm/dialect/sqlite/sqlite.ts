import type { Dialect } from '../dialect';

import { sqliteSql } from './sql';

export const sqlite: Dialect = {
  name: 'sqlite',
  title: 'SQLite',
  sql: sqliteSql,
};
