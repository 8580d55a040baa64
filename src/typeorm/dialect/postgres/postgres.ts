import type { Dialect } from '../dialect';

import { postgresCatalog } from './catalog';
import { postgresFailure } from './failures';
import { postgresNames } from './names';
import { postgresSql } from './sql';
import { postgresValues } from './values';

export const postgres: Dialect = {
  name: 'postgres',
  title: 'PostgreSQL',
  sql: postgresSql,
  catalog: postgresCatalog,
  values: postgresValues,
  names: postgresNames,
  failure: postgresFailure,
};
