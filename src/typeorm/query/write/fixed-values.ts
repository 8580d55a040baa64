import type { EntityMetadata } from 'typeorm';
import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';

import type { AnyQueryBuilder, Expressions } from '../any-query-builder';

type Clause = Expressions['wheres'][number];
type Condition = Clause['condition'];

/** One equality in a string, with or without an alias: `patient.id = :id`. */
const EQUALITY = /^\(?\s*(?:"?(\w+)"?\.)?"?([\w.]+)"?\s*=\s*:(\w+)\s*\)?$/;

/**
 * Returns the columns that the criteria of a statement fix to one value, so that all rows it hits have that:
 * those that are compared by `=`, or IN with one value, in conditions that all have to hold.
 *
 * @param alias - of the entity in a statement with joins, where a path without it may be of another.
 */
export function fixedValues(
  builder: AnyQueryBuilder,
  metadata: EntityMetadata,
  alias?: string,
): ReadonlyMap<ColumnMetadata, unknown> {
  const { aliases, wheres, parameters } = builder.expressionMap;
  const fixed = new Map<ColumnMetadata, unknown>();
  for (const [path, parameter] of equalities(wheres)) {
    const column = columnAt(metadata, path, aliases.length > 1 ? (alias ?? '') : undefined);
    const value: unknown = parameters[parameter];
    if (column !== undefined) fixed.set(column, value);
  }
  return fixed;
}

/** An equality: the path that is compared, and the name of the parameter. */
type Equality = readonly [path: string, parameter: string];

function equalities(clauses: readonly Clause[]): Equality[] {
  // The first clause of a list has nothing before it to be an alternative to.
  if (clauses.some(({ type }, i) => i > 0 && type === 'or')) return [];
  return clauses.flatMap(({ condition }) => equalitiesOf(condition));
}

function equalitiesOf(condition: Condition): Equality[] {
  if (typeof condition === 'string') return equalitiesInText(condition);
  if (Array.isArray(condition)) return equalities(condition);
  if (condition.operator === 'brackets') return equalitiesOf(condition.condition);
  if (condition.operator !== 'equal' && condition.operator !== 'in') return [];
  const [path = '', parameter = '', ...others] = condition.parameters;
  return others.length === 0 && parameter.startsWith(':') ? [[path, parameter.slice(1)]] : [];
}

/** Returns none unless every part of the text is an equality: another might hold an OR. */
function equalitiesInText(text: string): Equality[] {
  const matches = text.split(/\s+and\s+/i).map((part) => EQUALITY.exec(part.trim()));
  const found = matches.flatMap((match): Equality[] => {
    const [, alias, path, parameter] = match ?? [];
    if (path === undefined || parameter === undefined) return [];
    return [[alias === undefined ? path : `${alias}.${path}`, parameter]];
  });
  return found.length === matches.length ? found : [];
}

/** The path may be that of a property or the name of a column, and begin with an alias: with this one, if given. */
function columnAt(
  metadata: EntityMetadata,
  path: string,
  alias: string | undefined,
): ColumnMetadata | undefined {
  const rest = path.slice(path.indexOf('.') + 1);
  if (alias !== undefined && path !== `${alias}.${rest}`) return undefined;
  const paths = alias === undefined ? [path, rest] : [rest];
  return metadata.columns.find(
    ({ propertyPath, databaseName }) =>
      paths.includes(propertyPath) || paths.includes(databaseName),
  );
}
