import type { ObjectLiteral } from 'typeorm';

import { installationOf } from '../../installation/installations';
import {
  countValues,
  requireUseOfResult,
  tellOfUse,
  watchesUse,
} from '../../installation/value-use';
import type { EncryptedColumn, EncryptedEntity } from '../../metadata/encrypted-column';
import type { AnyQueryBuilder } from '../any-query-builder';

/** A list of plain names, quoted or not, with or without a table before them. */
const NAMES = /^\s*(?:[\w$]+|"[^"]+")(?:\.(?:[\w$]+|"[^"]+"))*\s*$/;

/**
 * Refuses RETURNING of encrypted columns, whose values TypeORM puts into entities, to an actor that may not use them, or
 * no more of them.
 *
 * @param expression - the SQL of the clause.
 * @throws {@link AccessDeniedError}, {@link RateLimitedError}
 */
export function requireUseOfReturned(
  { connection, expressionMap }: AnyQueryBuilder,
  { columns }: EncryptedEntity,
  expression: string,
): void {
  const installation = installationOf(connection);
  if (expression === '' || !watchesUse(installation)) return;
  const returned = columns.filter((encrypted) => mayName(expression, encrypted));
  // TypeORM makes entities of what INSERT returns, and of what UPDATE returns of the given ones; others stay raw.
  const { valuesSet, whereEntities } = expressionMap;
  const rows = Array.isArray(valuesSet) ? valuesSet.length : Math.max(1, whereEntities.length);
  requireUseOfResult(installation, returned, rows);
}

/** Whether a column is among what a clause names. Anything but plain names may be of every column, such as `*`. */
function mayName(expression: string, { column }: EncryptedColumn): boolean {
  return expression.split(',').some((each) => {
    if (!NAMES.test(each)) return true;
    const name = each.trim().split('.').at(-1)?.replaceAll('"', '') ?? '';
    return name.toLowerCase() === column.databaseName.toLowerCase();
  });
}

/** Publishes how many values RETURNING has handed out in the result of a statement, which is returned. */
export function tellOfReturned<T>(
  { connection }: AnyQueryBuilder,
  entity: EncryptedEntity | undefined,
  result: T,
): T {
  const { generatedMaps = [] } = result as { readonly generatedMaps?: readonly ObjectLiteral[] };
  if (generatedMaps.length === 0) return result;
  for (const encrypted of entity?.columns ?? []) {
    const count = (): number =>
      countValues(generatedMaps, (map): unknown => encrypted.column.getEntityValue(map));
    tellOfUse(installationOf(connection), encrypted, count);
  }
  return result;
}
