import type { Dialect } from '../dialect';

import { mysqlChecks } from './checks';
import { mysqlCatalog } from './catalog';
import { redactFailingRows } from './failing-rows';
import { mysqlFailure } from './failures';
import { mysqlNames } from './names';
import { requireSettings } from './settings';
import { mysqlSql } from './sql';
import { mysqlTransactions } from './transactions';
import { mysqlValues } from './values';

export const mysql: Dialect = {
  name: 'mysql',
  title: 'MySQL or MariaDB',
  runsPgBoss: false,
  copyingRunners: [],
  sql: mysqlSql,
  catalog: mysqlCatalog,
  transactions: mysqlTransactions,
  values: mysqlValues,
  names: mysqlNames,
  checks: mysqlChecks,
  requireSettings,
  redactFailingRows,
  failure: mysqlFailure,
};
