import type { QueryRunner } from 'typeorm';

import { FORMATS, isDataKeyId, keyPrefix } from '../../format/data-key-id';
import type { ScopeKeyRecord, ScopeKeySuite } from '../../keys/record/scope-key-record';
import type { ScopeKeyChange } from '../../keys/scopes/scope-key-store';
import { dialectOf } from '../dialect/dialect-of';

import { insertMissingRows } from './insert-unless-present';
import { ScopeKeySchema } from './scope-key-table';
import type { ScopeKeyRow } from './scope-key-table';
import { readBytes, readDate, readOneOf, readText, readWholeNumber, StoredRow } from './stored-row';
import type { ReadCell } from './stored-row';

/** The columns that a change may set. */
const CHANGED = ['state', 'sealed', 'since', 'branchId'] as const;

/** Inserts records. */
export async function insertRows(
  runner: QueryRunner,
  records: readonly ScopeKeyRecord[],
): Promise<void> {
  await runner.manager
    .createQueryBuilder()
    .insert()
    .into(ScopeKeySchema)
    .values(records.map(rowOf))
    .callListeners(false)
    .updateEntity(false)
    .execute();
}

/** Inserts records, except those whose slot is taken. Returns how many it inserted. */
export function insertUntaken(
  runner: QueryRunner,
  records: readonly ScopeKeyRecord[],
): Promise<number> {
  return insertMissingRows(runner, ScopeKeySchema, records.map(rowOf));
}

/** Changes rows by one statement. Returns false if some of them were no longer as expected. */
export async function updateRows(
  runner: QueryRunner,
  changes: readonly ScopeKeyChange[],
): Promise<boolean> {
  const parameters: Record<string, unknown> = {};
  for (const [i, { expected, record }] of changes.entries()) {
    const { id, state, sealed } = rowOf(expected);
    const row = rowOf(record);
    const values = { id, isState: state, isSealed: sealed };
    for (const [name, value] of Object.entries(values)) parameters[`${name}${String(i)}`] = value;
    for (const name of CHANGED) parameters[`${name}${String(i)}`] = row[name];
  }
  const each = (text: (i: string) => string): string[] => changes.map((_, i) => text(String(i)));
  const caseOf = (name: string) => (): string =>
    `CASE id ${each((i) => `WHEN :id${i} THEN :${name}${i}`).join(' ')} END`;
  const expected = dialectOf(runner.connection).sql.tuples(
    each((i) => `(:id${i}, :isState${i}, :isSealed${i})`),
  );
  const { affected } = await runner.manager
    .createQueryBuilder()
    .update(ScopeKeySchema)
    .set(Object.fromEntries(CHANGED.map((name) => [name, caseOf(name)])))
    .where(`(id, state, sealed) IN ${expected}`, parameters)
    .callListeners(false)
    .execute();
  return affected === changes.length;
}

function rowOf(record: ScopeKeyRecord): ScopeKeyRow {
  return {
    ...record,
    since: record.since.toISOString(),
    sealed: Buffer.from(record.sealed).toString('base64url'),
    prefix: keyPrefix(record.id, FORMATS.bound),
  };
}

/** Returns the record in a row. Cells that cannot be read become empty, and it opens nothing. */
export function recordOf(row: ScopeKeyRow): ScopeKeyRecord {
  const stored = new StoredRow(ScopeKeySchema, row);
  const id = stored.cell('id', readKeyId, '');
  // No seal covers it, as it says nothing that the id does not.
  stored.cell('prefix', readPrefixOf(id), '');
  const record = {
    id,
    kind: stored.text('kind'),
    scope: stored.text('scope'),
    purpose: stored.cell('purpose', readOneOf(PURPOSES), UNKNOWN),
    version: stored.cell('version', readWholeNumber, 0),
    state: stored.cell('state', readOneOf(STATES), 'deactivated'),
    suite: stored.text('suite') as ScopeKeySuite,
    branchId: stored.cell('branchId', readKeyId, ''),
    since: stored.cell('since', readDate, new Date(0)),
    sealed: stored.cell('sealed', readBytes, Buffer.alloc(0)),
  };
  const unreadable = stored.unreadable.map(({ column }) => column);
  return unreadable.length === 0 ? record : { ...record, unreadable };
}

const PURPOSES = ['data', 'index', 'erasure', 'hold'] as const;
/** Stands for a purpose that there is not: a mark that proves nothing. */
const UNKNOWN = 'hold';
const STATES = ['active', 'deactivated', 'erased'] as const;
const readKeyId: ReadCell<string> = (value) => {
  const id = readText(value);
  if (isDataKeyId(id)) return id;
  throw new RangeError('it is no id of a key');
};
const readPrefixOf =
  (id: string): ReadCell<string> =>
  (value) => {
    if (value === keyPrefix(id, FORMATS.bound)) return value;
    throw new RangeError('it is not the prefix of the key');
  };
