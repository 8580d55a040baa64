import type { Dialect } from '../dialect';

import { mysqlCatalog } from './catalog';
import { mysqlChecks } from './checks';
import { redactFailingRows } from './failing-rows';
import { mysqlFailure } from './failures';
import { mysqlRules } from './lexical-rules';
import { requireOnlyLeftOut } from './left-out-rows';
import { mysqlNames } from './names';
import { mysqlOwnTables } from './own-tables';
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
  lexicalRules: mysqlRules,
  catalog: mysqlCatalog,
  transactions: mysqlTransactions,
  values: mysqlValues,
  names: mysqlNames,
  checks: mysqlChecks,
  ownTables: mysqlOwnTables,
  requireSettings,
  requireOnlyLeftOut,
  redactFailingRows,
  failure: mysqlFailure,
};
