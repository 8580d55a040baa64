import type { Dialect } from '../dialect';

import { postgresCatalog } from './catalog';
import { redactFailingRows } from './failing-rows';
import { postgresFailure } from './failures';
import { postgresRules } from './lexical-rules';
import { postgresNames } from './names';
import { postgresSql } from './sql';
import { postgresTransactions } from './transactions';
import { postgresValues } from './values';

export const postgres: Dialect = {
  name: 'postgres',
  title: 'PostgreSQL',
  runsPgBoss: true,
  copyingRunners: [],
  sql: postgresSql,
  lexicalRules: postgresRules,
  catalog: postgresCatalog,
  transactions: postgresTransactions,
  values: postgresValues,
  names: postgresNames,
  redactFailingRows,
  failure: postgresFailure,
};
