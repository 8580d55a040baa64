import type { Dialect } from '../dialect';

import { postgresSql } from './sql';

export const postgres: Dialect = {
  name: 'postgres',
  title: 'PostgreSQL',
  sql: postgresSql,
};
