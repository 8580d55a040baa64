import { BetterSqlite3QueryRunner } from 'typeorm/driver/better-sqlite3/BetterSqlite3QueryRunner.js';

import type { Dialect } from '../dialect';

import { sqliteCatalog } from './catalog';
import { sqliteFailure } from './failures';
import { sqliteRules } from './lexical-rules';
import { sqliteNames } from './names';
import { sqliteSql } from './sql';
import { sqliteTransactions } from './transactions';
import { sqliteValues } from './values';

export const sqlite: Dialect = {
  name: 'sqlite',
  title: 'SQLite',
  runsPgBoss: false,
  copyingRunners: [BetterSqlite3QueryRunner.prototype],
  sql: sqliteSql,
  lexicalRules: sqliteRules,
  catalog: sqliteCatalog,
  transactions: sqliteTransactions,
  values: sqliteValues,
  names: sqliteNames,
  failure: sqliteFailure,
};
