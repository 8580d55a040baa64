import type { DataSource, EntityMetadata } from 'typeorm';
import type { CheckMetadata } from 'typeorm/metadata/CheckMetadata.js';

import { dialectOf } from '../dialect/dialect-of';
import { policyRefused } from '../metadata/encrypted-column';
import type { EncryptedColumn } from '../metadata/encrypted-column';
import { tablePlace } from '../metadata/table-place';

import { isHarmless } from './raw-use';
import { withinGroups } from './sql-clauses';
import { isKeyword } from './sql-nodes';
import type { SqlNode } from './sql-nodes';
import { sqlNodes } from './sql-scanner';

/** SQL of an entity that the database applies to the rows of its table, and what to use in its stead. */
interface Constraint {
  readonly what: string;
  readonly sql: string;
  readonly remedy: string;
}

/**
 * Refuses CHECK and exclusion constraints, partial indexes and generated columns that name an encrypted
 * property or its column. On ciphertext they let everything pass, or nothing. Tests for NULL still work, and
 * are left alone.
 *
 * @throws {@link InvalidFieldPolicyError}
 */
export function assertNotConstrained(
  dataSource: DataSource,
  encrypted: readonly EncryptedColumn[],
): void {
  const own = new Set(encrypted.map(({ check }) => check?.constraint));
  const placed = encrypted.map((each) => ({ each, place: placeOf(each.column.entityMetadata) }));
  for (const metadata of dataSource.entityMetadatas) {
    const place = placeOf(metadata);
    const columns = placed.filter((one) => one.place === place).map(({ each }) => each);
    if (columns.length === 0) continue;
    for (const constraint of constraintsOf(metadata, own)) {
      const column = constrained(constraint, metadata, columns);
      if (column === undefined) continue;
      const { what, remedy } = constraint;
      throw policyRefused(
        column.policy,
        `${what} names it, and the database has only ciphertext to apply that to. ${remedy}`,
      );
    }
  }

  function placeOf({ tablePath }: EntityMetadata): string {
    return tablePlace(dataSource, tablePath);
  }
}

function constraintsOf(
  { checks, indices, exclusions, columns }: EntityMetadata,
  own: ReadonlySet<CheckMetadata | undefined>,
): Constraint[] {
  const inClass =
    'Check the value in the class, for instance with rules of class-validator and the option validate: true.';
  return [
    ...checks
      .filter((check) => !own.has(check))
      .map(({ expression, name }) => ({
        what: `the CHECK constraint "${name}"`,
        sql: expression,
        remedy: inClass,
      })),
    ...indices.map(({ where, name }) => ({
      what: `the condition of the index "${name}"`,
      sql: where ?? '',
      remedy: 'Make the condition one of other columns, or a test for NULL.',
    })),
    ...exclusions.map(({ expression, name }) => ({
      what: `the exclusion constraint "${name}"`,
      sql: expression,
      remedy: 'Use @BlindIndex({ unique: true }) to keep equal values out.',
    })),
    ...columns.map(({ asExpression, propertyPath }) => ({
      what: `the generated column "${propertyPath}"`,
      sql: asExpression ?? '',
      remedy: 'Compute the value in the class, and encrypt it if it tells anything of the other.',
    })),
  ];
}

function constrained(
  { sql }: Constraint,
  metadata: EntityMetadata,
  encrypted: readonly EncryptedColumn[],
): EncryptedColumn | undefined {
  const { lexicalRules: rules } = dialectOf(metadata.connection);
  const byName = namesOf(metadata, encrypted);
  for (const nodes of withinGroups(sqlNodes(sql, rules))) {
    for (const [at, node] of nodes.entries()) {
      if (node.kind !== 'name' || isNoColumn(nodes, at)) continue;
      // The names of its table and schema may stand before the column.
      const column = node.parts
        .map((_part, from) => byName.get(node.parts.slice(from).join('.')))
        .find((each) => each !== undefined);
      if (column !== undefined && !isHarmless(nodes, at, column)) return column;
    }
  }
  return undefined;
}

/** Returns the columns by the names that SQL may have for them, their properties unless a column has that name. */
function namesOf(
  { columns: mapped }: EntityMetadata,
  encrypted: readonly EncryptedColumn[],
): ReadonlyMap<string, EncryptedColumn> {
  const taken = new Set(mapped.map(({ databaseName }) => databaseName.toLowerCase()));
  const names = new Map<string, EncryptedColumn>();
  for (const each of encrypted) {
    const property = each.column.propertyPath.toLowerCase();
    if (!taken.has(property)) names.set(property, each);
  }
  for (const each of encrypted) names.set(each.column.databaseName.toLowerCase(), each);
  return names;
}

/** Whether a name is a function, the type of a literal or of a cast, or a collation. */
function isNoColumn(nodes: readonly SqlNode[], at: number): boolean {
  const next = nodes[at + 1];
  const isBeforeValue = next?.kind === 'group' || next?.kind === 'value';
  return isBeforeValue || isKeyword(nodes[at - 1], 'as', 'collate');
}
