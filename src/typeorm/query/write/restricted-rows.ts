import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';

import { dialectOf } from '../../dialect/dialect-of';
import { isText } from '../../metadata/canonical-value';
import type { AnyQueryBuilder } from '../any-query-builder';

/**
 * Adds to the criteria of a statement that its rows have just these values, texts by their bytes. Returns a function
 * that takes the conditions back; the parameters stay, which TypeORM asks for after it has built the statement.
 *
 * @param prefix - what the names of the parameters begin with.
 */
export function restrictTo(
  { connection, expressionMap }: AnyQueryBuilder,
  values: ReadonlyMap<ColumnMetadata, unknown>,
  prefix: string,
): () => void {
  const { wheres } = expressionMap;
  const { exactly } = dialectOf(connection).sql;
  const added = [...values].map(([column, value], i) => {
    const name = `${prefix}${String(i)}`;
    const cell = connection.driver.escape(column.databaseName);
    const isEqual = `${cell} = :${name}`;
    const sql =
      exactly === undefined || !isText(column)
        ? isEqual
        : `${isEqual} AND ${exactly(cell)} = ${exactly(`:${name}`)}`;
    return { sql, name, value };
  });
  const before =
    wheres.length === 0
      ? []
      : [{ type: 'and' as const, condition: { operator: 'brackets' as const, condition: wheres } }];
  expressionMap.wheres = [
    ...before,
    ...added.map(({ sql }) => ({ type: 'and' as const, condition: sql })),
  ];
  expressionMap.parameters = {
    ...expressionMap.parameters,
    ...Object.fromEntries(added.map(({ name, value }) => [name, value])),
  };
  return () => {
    expressionMap.wheres = wheres;
  };
}
