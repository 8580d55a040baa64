import { TableColumn } from 'typeorm';
import { TableUtils } from 'typeorm/schema-builder/util/TableUtils.js';

import { quotedName } from '../../typeorm/dialect/postgres/names';
import type { EncryptedColumn } from '../../typeorm/metadata/encrypted-column';
import { columnRefused } from '../expanded-table';
import type { ExpandedTable } from '../expanded-table';

import { catalogColumn, constraintsOn, indexesOn } from './catalog';
import type { CatalogColumn, CatalogConstraint } from './catalog';

interface LiveColumn {
  readonly encrypted: EncryptedColumn;
  readonly live: CatalogColumn;
}

/**
 * Removes what made sense only for cleartext from columns, and gives them a type that holds ciphertext.
 * TypeORM itself would drop them and add new ones: its `changeColumn` does not convert data.
 */
export async function expandColumns(
  target: ExpandedTable,
  columns: readonly EncryptedColumn[],
): Promise<void> {
  const present: LiveColumn[] = [];
  for (const encrypted of columns) {
    const live = await liveColumn(target, encrypted);
    if (live !== undefined) present.push({ encrypted, live });
  }
  for (const { encrypted, live } of present) {
    await dropConstraints(target, encrypted);
    await dropIndexes(target, encrypted);
    dropDefault(target, live, encrypted);
  }
  convert(target, present);
}

async function liveColumn(
  target: ExpandedTable,
  encrypted: EncryptedColumn,
): Promise<CatalogColumn | undefined> {
  const { runner, table } = target;
  const live = await catalogColumn(runner, table.name, encrypted.column.databaseName);
  if (live === undefined) return undefined;
  assertConvertible(live, encrypted);
  await target.assertNoCleartext(encrypted, storedForm(live, encrypted));
  const isConverted = live.type !== wantedType(target, encrypted);
  const stored = isConverted ? converted(encrypted, live) : undefined;
  target.inTransition.push({ encrypted, stored: stored ?? nameOf(encrypted) });
  return live;
}

function assertConvertible({ type, category }: CatalogColumn, encrypted: EncryptedColumn): void {
  if (category === 'A') {
    throw columnRefused(
      encrypted,
      `the column is an array (${type}), for which there is no one text form. ` +
        'Convert it to the text that the property is to hold, JSON for instance, and run the command again.',
    );
  }
  if (type === 'bytea' && encrypted.policy.storage === 'text') {
    throw columnRefused(
      encrypted,
      "the column is bytea, and bytes need not be text. Set storage: 'binary' in @Encrypted.",
    );
  }
}

/** Returns SQL for the value of an unconverted column, as it will be stored. */
function storedForm({ type }: CatalogColumn, encrypted: EncryptedColumn): string {
  const { policy } = encrypted;
  const name = nameOf(encrypted);
  if (policy.storage === 'text') return `${name}::text`;
  return type === 'bytea' ? name : `convert_to(${name}::text, 'UTF8')`;
}

async function dropConstraints(target: ExpandedTable, encrypted: EncryptedColumn): Promise<void> {
  const { runner, table, script } = target;
  const { databaseName } = encrypted.column;
  for (const constraint of await constraintsOn(runner, table.name, databaseName)) {
    if (!isOutdated(constraint, target, encrypted)) continue;
    const { name, definition } = constraint;
    script.step(
      `ALTER TABLE ${table.name} DROP CONSTRAINT ${quotedName(name)}`,
      `ALTER TABLE ${table.name} ADD CONSTRAINT ${quotedName(name)} ${definition}`,
    );
    target.noteDropped(encrypted, name, definition);
  }
}

function isOutdated(
  { kind, name, definition }: CatalogConstraint,
  target: ExpandedTable,
  encrypted: EncryptedColumn,
): boolean {
  if (kind === 'f' || kind === 'p') {
    throw columnRefused(
      encrypted,
      `the column takes part in "${name}" (${definition}), and a key cannot be encrypted. Drop the constraint first.`,
    );
  }
  // A constraint that the entity still declares (@Check) is wanted on ciphertext, too.
  const declared = target.table.metadata.checks.some((check) => check.name === name);
  return !declared && target.firstDropOf(name);
}

async function dropIndexes(target: ExpandedTable, encrypted: EncryptedColumn): Promise<void> {
  const { runner, table, script } = target;
  for (const index of await indexesOn(runner, table.name, encrypted.column.databaseName)) {
    if (!target.firstDropOf(index.path)) continue;
    script.step(`DROP INDEX ${index.path}`, index.definition);
    target.noteDropped(encrypted, index.name, index.definition);
  }
}

function dropDefault(target: ExpandedTable, live: CatalogColumn, encrypted: EncryptedColumn): void {
  if (live.default === null) return;
  target.noteDefault(encrypted, `DEFAULT ${live.default}`);
  target.guardDown(encrypted);
  const name = nameOf(encrypted);
  const alter = `ALTER TABLE ${target.table.name} ALTER COLUMN ${name}`;
  target.script.step(`${alter} DROP DEFAULT`, `${alter} SET DEFAULT ${live.default}`);
}

/** Changes all types in one statement, which rewrites the table only once. */
function convert(target: ExpandedTable, columns: readonly LiveColumn[]): void {
  const changed = columns
    .map((column) => ({ ...column, wanted: wantedType(target, column.encrypted) }))
    .filter(({ live, wanted }) => live.type !== wanted);
  if (changed.length === 0) return;
  for (const { encrypted } of changed) target.guardDown(encrypted);
  const alterTable = (actions: readonly string[]): string =>
    `ALTER TABLE ${target.table.name} ${actions.join(', ')}`;
  const up = changed.map(({ encrypted, live, wanted }) =>
    alterType(encrypted, wanted, converted(encrypted, live)),
  );
  // By way of text: an assignment to the old type refuses a value that is too long, where a cast would cut it.
  const bytesToText = changed
    .filter(({ encrypted }) => encrypted.policy.storage === 'binary')
    .map(({ encrypted }) =>
      alterType(encrypted, 'text', `convert_from(${nameOf(encrypted)}, 'UTF8')`),
    );
  const textToOld = changed.map(({ encrypted, live }) =>
    alterType(encrypted, live.type, isText(live) ? undefined : oldForm(encrypted, live)),
  );
  target.script.step(
    alterTable(up),
    ...(bytesToText.length === 0 ? [] : [alterTable(bytesToText)]),
    alterTable(textToOld),
  );
}

function wantedType({ runner }: ExpandedTable, { column }: EncryptedColumn): string {
  const { driver } = runner.connection;
  return driver.createFullType(
    new TableColumn(TableUtils.createTableColumnOptions(column, driver)),
  );
}

function alterType(encrypted: EncryptedColumn, type: string, using: string | undefined): string {
  const action = `ALTER COLUMN ${nameOf(encrypted)} TYPE ${type}`;
  return using === undefined ? action : `${action} USING ${using}`;
}

/** Returns SQL for the value in the new type; `undefined` if the assignment converts it. */
function converted(encrypted: EncryptedColumn, live: CatalogColumn): string | undefined {
  const text = textForm(nameOf(encrypted), live);
  if (encrypted.policy.storage === 'binary') return `convert_to(${text}, 'UTF8')`;
  return isText(live) ? undefined : text;
}

/**
 * Returns SQL for a value as text. Dates are in the form that JavaScript reads, whatever the session's
 * DateStyle and TimeZone; those before Christ, and infinity, have no such form and stay as they are.
 */
function textForm(name: string, { type }: CatalogColumn): string {
  const time = `'YYYY-MM-DD"T"HH24:MI:SS.US`;
  let form: string | undefined;
  if (type === 'date') form = `to_char(${name}, 'YYYY-MM-DD')`;
  else if (/^timestamp.* with time zone$/.test(type))
    form = `to_char(${name} AT TIME ZONE 'UTC', ${time}"Z"')`;
  else if (type.startsWith('timestamp')) form = `to_char(${name}, ${time}')`;
  return form === undefined
    ? `${name}::text`
    : `CASE WHEN ${name} >= '0001-01-01' AND ${name} < 'infinity' THEN ${form} ELSE ${name}::text END`;
}

/** Returns SQL for the value that a text has in the old type. A timestamp leaves out the zone of the text. */
function oldForm(encrypted: EncryptedColumn, { type }: CatalogColumn): string {
  const name = nameOf(encrypted);
  const value = `${name}::${type}`;
  if (type !== 'date' || encrypted.policy.type !== 'date') return value;
  // A day has no zone, and JavaScript reads it in UTC.
  const day = `(${name}::timestamptz AT TIME ZONE 'UTC')::date`;
  return `CASE WHEN ${name} ~ 'T.*(Z|[+-][0-9]{2}:[0-9]{2})$' THEN ${day} ELSE ${value} END`;
}

function isText({ category }: CatalogColumn): boolean {
  return category === 'S';
}

function nameOf({ column }: EncryptedColumn): string {
  return quotedName(column.databaseName);
}
