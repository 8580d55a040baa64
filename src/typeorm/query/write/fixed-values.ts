import type { EntityMetadata } from 'typeorm';
import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';

import type { AnyQueryBuilder, Expressions } from '../any-query-builder';

type Clause = Expressions['wheres'][number];
type Condition = Clause['condition'];

/** One equality in a string, with or without an alias: `patient.id = :id`. */
const EQUALITY = /^["`]?([\w.]+)["`]?(?:\.["`]?(\w+)["`]?)?\s*=\s*:(\w+)$/;

/**
 * Returns the columns that the criteria of a statement fix to one value, so that all rows it hits have that:
 * those that are compared by `=`, or IN with one value, in conditions that all have to hold.
 *
 *
 * TypeORM puts SQL of the application beside other conditions as it is: an OR in it, or a bracket that it
 * closes, changes what these mean. So with any SQL but equalities, nothing counts as fixed.
 *
 * @param alias - of the entity in a statement with joins, where a path without it may be of another.
 */
export function fixedValues(
  builder: AnyQueryBuilder,
  metadata: EntityMetadata,
  alias?: string,
): ReadonlyMap<ColumnMetadata, unknown> {
  const { aliases, mainAlias, wheres, parameters } = builder.expressionMap;
  const names =
    aliases.length > 1 ? [alias ?? ''] : [undefined, mainAlias?.name, metadata.tableName];
  const fixed = new Map<ColumnMetadata, unknown>();
  for (const [path, parameter] of equalities(wheres) ?? []) {
    const column = columnAt(metadata, path, names);
    const value: unknown = parameters[parameter];
    if (column !== undefined) fixed.set(column, value);
  }
  return fixed;
}

/** An equality: the path that is compared, and the name of the parameter. */
type Equality = readonly [path: string, parameter: string];

/** Returns undefined if there is SQL that may change the meaning of the rest. */
function equalities(clauses: readonly Clause[]): Equality[] | undefined {
  const found: Equality[] = [];
  for (const { condition } of clauses) {
    const own = equalitiesOf(condition);
    if (own === undefined) return undefined;
    found.push(...own);
  }
  // The first clause of a list has nothing before it to be an alternative to.
  return clauses.some(({ type }, i) => i > 0 && type === 'or') ? [] : found;
}

function equalitiesOf(condition: Condition): Equality[] | undefined {
  if (typeof condition === 'string') return equalitiesInText(condition);
  if (Array.isArray(condition)) return equalities(condition);
  if ('condition' in condition) {
    const inner = equalitiesOf(condition.condition);
    return condition.operator === 'brackets' ? inner : inner && [];
  }
  const [path = '', ...values] = condition.parameters;
  // Raw() puts its SQL here.
  if (values.some((value) => !value.startsWith(':'))) return undefined;
  const [parameter = '', ...others] = values;
  const isFixing = ['equal', 'in'].includes(condition.operator) && others.length === 0;
  return isFixing && parameter !== '' ? [[path, parameter.slice(1)]] : [];
}

/** Returns undefined unless every part of the text is an equality. */
function equalitiesInText(text: string): Equality[] | undefined {
  const found: Equality[] = [];
  for (const part of text.split(/\s+and\s+/i)) {
    const [, first, second, parameter] = EQUALITY.exec(unbracketed(part.trim())) ?? [];
    if (first === undefined || parameter === undefined) return undefined;
    found.push([second === undefined ? first : `${first}.${second}`, parameter]);
  }
  return found;
}

function unbracketed(text: string): string {
  return text.startsWith('(') && text.endsWith(')') ? text.slice(1, -1).trim() : text;
}

/**
 * The path may be that of a property or the name of a column, and begin with an alias.
 *
 * @param aliases - that it may begin with; undefined among them if with none.
 */
function columnAt(
  metadata: EntityMetadata,
  path: string,
  aliases: readonly (string | undefined)[],
): ColumnMetadata | undefined {
  const dot = path.indexOf('.');
  const isPrefixed = dot > 0 && aliases.includes(path.slice(0, dot));
  return (
    (aliases.includes(undefined) ? columnNamed(metadata, path) : undefined) ??
    (isPrefixed ? columnNamed(metadata, path.slice(dot + 1)) : undefined)
  );
}

function columnNamed({ columns }: EntityMetadata, path: string): ColumnMetadata | undefined {
  return (
    columns.find(({ propertyPath }) => propertyPath === path) ??
    columns.find((column) => relationPathOf(column) === path) ??
    columns.find(({ databaseName }) => databaseName === path)
  );
}

/** Returns the path of a foreign key by its relation, such as `tenant.id`. */
function relationPathOf({
  relationMetadata,
  referencedColumn,
}: ColumnMetadata): string | undefined {
  if (relationMetadata === undefined || referencedColumn === undefined) return undefined;
  return `${relationMetadata.propertyPath}.${referencedColumn.propertyPath}`;
}
