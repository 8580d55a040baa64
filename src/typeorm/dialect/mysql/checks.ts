import { TableCheck } from 'typeorm';
import type { QueryRunner } from 'typeorm';

import type { CheckConstraints } from '../check-constraints';
import { databaseCode } from '../database-code';

import { quotedName, quotedPath } from './names';

/** A constraint in what `SHOW CREATE TABLE` prints, on a line of its own. */
const CONSTRAINT = /^\s*CONSTRAINT [`"]?(\w+)[`"]? CHECK \((.*)\),?$/gm;

/** From the definition of the table: `information_schema` shows constraints to few users only. */
export const mysqlChecks: CheckConstraints = {
  of: async (runner, { tablePath }) =>
    [...(await definitionOf(runner, tablePath)).matchAll(CONSTRAINT)].map(
      ([, name = '', expression = '']) => new TableCheck({ name, expression }),
    ),
  add: ({ name, expression }) =>
    `ADD CONSTRAINT ${quotedName(String(name))} CHECK (${String(expression)})`,
  drop: ({ name }) => `DROP CONSTRAINT ${quotedName(String(name))}`,
};

/** Fetches the statement that would create a table; empty if it does not exist. */
async function definitionOf(runner: QueryRunner, tablePath: string): Promise<string> {
  try {
    const [row] = (await runner.query(`SHOW CREATE TABLE ${quotedPath(tablePath)}`)) as {
      'Create Table'?: string;
    }[];
    return row?.['Create Table'] ?? '';
  } catch (error) {
    if (databaseCode(error) === 'ER_NO_SUCH_TABLE') return '';
    throw error;
  }
}
