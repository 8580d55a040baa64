import type { QueryRunner } from 'typeorm';

import { quotedName } from '../../typeorm/dialect/mysql/names';

/** A part of a table's definition, as the database writes it and takes it back. */
export interface Part {
  readonly name: string;
  /** The whole part, as `ADD` and `MODIFY` take it. */
  readonly sql: string;
  /** What follows the name. */
  readonly rest: string;
}

/** The definition of a table, taken apart. */
export interface TableDefinition {
  readonly columns: readonly Part[];
  readonly primaryKey: string;
  readonly keys: readonly Part[];
  readonly foreignKeys: readonly Part[];
  readonly checks: readonly Part[];
  /** The engine, partitions and the like. */
  readonly options: string;
}

const NAME = '`((?:[^`]|``)*)`';
const COLUMN = new RegExp(`^${NAME} (.*)$`, 's');
const KEY = new RegExp(`^(?:[A-Z]+ )?KEY ${NAME} (.*)$`, 's');
const FOREIGN_KEY = new RegExp(`^CONSTRAINT ${NAME} FOREIGN KEY (.*)$`, 's');
const CHECK = new RegExp(`^CONSTRAINT ${NAME} CHECK (.*)$`, 's');

/**
 * Fetches the definition of a table by SHOW CREATE TABLE, as `down` has to restore everything. Each of its parts
 * has a line, which begins with two spaces.
 */
export async function tableDefinition(
  runner: QueryRunner,
  table: string,
): Promise<TableDefinition> {
  const [row] = (await runner.query(`SHOW CREATE TABLE ${table}`)) as { 'Create Table': string }[];
  const [, ...lines] = (row?.['Create Table'] ?? '').split('\n  ');
  const [last = '', ...after] = (lines.pop() ?? '').split('\n) ');
  const parts = [...lines.map((line) => line.replace(/,$/, '')), last];
  return {
    columns: matching(parts, COLUMN),
    primaryKey: parts.find((part) => part.startsWith('PRIMARY KEY ')) ?? '',
    keys: matching(parts, KEY),
    foreignKeys: matching(parts, FOREIGN_KEY),
    checks: matching(parts, CHECK),
    options: after.join('\n) '),
  };
}

function matching(parts: readonly string[], pattern: RegExp): Part[] {
  return parts.flatMap((sql) => {
    const [, name, rest] = pattern.exec(sql) ?? [];
    return name === undefined || rest === undefined
      ? []
      : [{ name: name.replaceAll('``', '`'), sql, rest }];
  });
}

/** Whether SQL of the database names a column. */
export function mentions(sql: string, column: string): boolean {
  return sql.toLowerCase().includes(quotedName(column).toLowerCase());
}
