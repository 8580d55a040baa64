import type { DataSource } from 'typeorm';

import { dialectOf } from '../../typeorm/dialect/dialect-of';
import { withinGroups } from '../../typeorm/sql/sql-clauses';
import type { SqlNode } from '../../typeorm/sql/sql-nodes';
import { sqlNodes } from '../../typeorm/sql/sql-scanner';

/** A value to bind. Texts and numbers are what every driver binds alike. */
export type ParameterValue = string | number;

/** A condition in SQL, taken apart at its parameters. */
export interface BoundCondition {
  /** As it was given, with `:name` for each parameter; empty for no condition. */
  readonly sql: string;
  /** One more than there are values, which stand between them. */
  readonly texts: readonly string[];
  readonly values: readonly ParameterValue[];
}

const NAME = /^:([A-Za-z_]\w*)/;

/** A parameter of a condition. */
interface NamedParameter {
  readonly name: string;
  readonly from: number;
  readonly to: number;
}

function nodesIn(dataSource: DataSource, sql: string): SqlNode[] {
  return [...withinGroups(sqlNodes(sql, dialectOf(dataSource).lexicalRules))].flat();
}

/** Returns the parameters of a condition in their order. */
function parametersIn(dataSource: DataSource, sql: string): NamedParameter[] {
  return nodesIn(dataSource, sql)
    .flatMap((node) => {
      const name = node.kind === 'parameter' && NAME.exec(node.text)?.[1];
      return name ? [{ name, from: node.from, to: node.from + 1 + name.length }] : [];
    })
    .sort((a, b) => a.from - b.from);
}

/** Returns the names of the parameters in a condition, in their order. */
export function parameterNames(dataSource: DataSource, sql: string): string[] {
  return parametersIn(dataSource, sql).map(({ name }) => name);
}

/** Whether a condition has a placeholder of the database, which would take the value of something else. */
export function hasPlaceholder(dataSource: DataSource, sql: string): boolean {
  const tokens = nodesIn(dataSource, sql)
    .flatMap((node) => ('text' in node ? node.text : []))
    .filter((text) => !NAME.test(text));
  return dialectOf(dataSource).sql.hasPlaceholder?.(sql, tokens) ?? false;
}

/** @param parameters - one of each of {@link parameterNames}. */
export function boundCondition(
  dataSource: DataSource,
  sql: string,
  parameters: Readonly<Record<string, ParameterValue>>,
): BoundCondition {
  const texts: string[] = [];
  const values: ParameterValue[] = [];
  let end = 0;
  for (const { name, from, to } of parametersIn(dataSource, sql)) {
    const value = parameters[name];
    if (value === undefined) continue;
    texts.push(sql.slice(end, from));
    values.push(value);
    end = to;
  }
  return { sql, texts: [...texts, sql.slice(end)], values };
}
