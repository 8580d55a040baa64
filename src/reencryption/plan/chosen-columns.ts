import { RunPlanError } from '../../errors';
import type { Scope } from '../../keys/record/scope';
import type { Installation } from '../../typeorm/installation/installation';
import { describeColumn } from '../../typeorm/metadata/encrypted-column';
import type { EncryptedColumn } from '../../typeorm/metadata/encrypted-column';
import { encryptedTables } from '../encrypted-table';
import type { EncryptedTable } from '../encrypted-table';
import type { Mode } from '../modes/mode';
import type { RunOptions } from '../report/run-options';

/** A table of a run with the columns that it works on. */
export interface Chosen {
  readonly table: EncryptedTable;
  readonly columns: readonly EncryptedColumn[];
}

/**
 * Returns what a run works on by its options.
 *
 * @throws {@link RunPlanError}, {@link ConfigurationError}
 */
export function chosenColumns(
  installation: Installation,
  mode: Mode,
  options: RunOptions,
  scopes: readonly Scope[] | undefined,
): Chosen[] {
  const { columns: named, first = {}, where = {} } = options;
  const entities = entitiesOf(options);
  const tables = inOrder(installation, encryptedTables(installation, entities), entities);
  const all = tables.flatMap(({ columns }) => columns);
  const unknown = named?.find((name) => !all.some((each) => describeColumn(each) === name));
  if (unknown !== undefined) throw notEncrypted(unknown, all);
  for (const [option, conditions] of Object.entries({ first, where })) {
    for (const entity of Object.keys(conditions)) {
      if (!tables.some(({ metadata }) => metadata.name === entity)) {
        throw unknownEntity(option, entity, tables);
      }
    }
  }

  const wanted = (column: EncryptedColumn): boolean =>
    named?.includes(describeColumn(column)) ?? mode.takes(column);
  const refused = all.find((column) => wanted(column) && !mode.takes(column));
  if (refused !== undefined) throw notFor(mode, refused);
  const chosen = withColumns(tables, wanted);
  if (chosen.length === 0 && all.length > 0) throw nothingFor(mode, all);
  if (scopes === undefined) return chosen;
  const kinds = new Set(scopes.map(({ kind }) => kind));
  const ofScopes = withColumns(tables, (each) => wanted(each) && kinds.has(each.scope?.kind ?? ''));
  if (ofScopes.length === 0) throw nothingOf(kinds);
  return ofScopes;
}

/** Returns the entities that the options name in any way; `undefined` for all. */
function entitiesOf({ entities, columns, where = {} }: RunOptions): RunOptions['entities'] {
  const conditioned = Object.keys(where);
  if (entities !== undefined || columns !== undefined || conditioned.length === 0) return entities;
  return conditioned;
}

/** Sorts the tables in the order in which `entities` names them. */
function inOrder(
  { dataSource }: Installation,
  tables: EncryptedTable[],
  entities: RunOptions['entities'],
): EncryptedTable[] {
  if (entities === undefined) return tables;
  const order = entities.map((target) => dataSource.getMetadata(target).tablePath);
  const at = ({ metadata }: EncryptedTable): number => order.indexOf(metadata.tablePath);
  return tables.sort((a, b) => at(a) - at(b));
}

function withColumns(
  tables: readonly EncryptedTable[],
  wanted: (column: EncryptedColumn) => boolean,
): Chosen[] {
  return tables
    .map((table) => ({ table, columns: table.columns.filter(wanted) }))
    .filter(({ columns }) => columns.length > 0);
}

function notEncrypted(name: string, all: readonly EncryptedColumn[]): RunPlanError {
  return new RunPlanError(
    `"${name}" is not an encrypted property of these entities. Encrypted are ${all.map(describeColumn).join(', ')}.`,
  );
}

function unknownEntity(
  option: string,
  entity: string,
  tables: readonly EncryptedTable[],
): RunPlanError {
  const names = tables.map(({ metadata }) => metadata.name).join(', ');
  return new RunPlanError(
    `"${option}" names "${entity}", which is not among the entities of the run: ${names}.`,
  );
}

function notFor({ name, needs }: Mode, column: EncryptedColumn): RunPlanError {
  const { entity, property } = column.policy;
  return new RunPlanError(`${entity}.${property}: ${name} is for a property that ${needs}.`, {
    entity,
    property,
  });
}

function nothingFor({ name, needs }: Mode, all: readonly EncryptedColumn[]): RunPlanError {
  return new RunPlanError(
    `No row was touched: ${name} is for a property that ${needs}. ` +
      `None of these is one: ${all.map(describeColumn).join(', ')}.`,
  );
}

function nothingOf(kinds: ReadonlySet<string>): RunPlanError {
  return new RunPlanError(
    `No row was touched: none of these properties has keys of ${[...kinds].join(' or ')}.`,
  );
}
