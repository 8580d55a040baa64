import { RunPlanError } from '../errors';
import { RangeSchema, RunSchema } from '../typeorm/run-tables';
import type { RangeRow, RunRow } from '../typeorm/run-tables';
import {
  readNumberUpTo,
  readOneOf,
  readText,
  readWholeNumber,
  StoredRow,
} from '../typeorm/stored-row';
import type { UnreadableCell } from '../typeorm/stored-row';
import type { RowKey } from './database/row';
import { keyFromText } from './database/row';

/** A row that loses the race against a writer is read again by the next pass, this many times. */
export const MAX_PASSES = 6;

/** A range with its checkpoint as a run works with it. */
export interface StoredRange extends Omit<RangeRow, 'lower' | 'upper' | 'cursor' | 'leaseUntil'> {
  /** The primary key before the first row; `null` for the beginning of the table. */
  readonly lower: RowKey | null;
  /** The primary key of the last row; `null` for the end of the table. */
  readonly upper: RowKey | null;
  /** The primary key of the last row that is done. */
  readonly cursor: RowKey | null;
  /** Milliseconds since 1970 by the clock of the database. */
  readonly leaseUntil: number;
}

/** Far below where the columns of PostgreSQL overflow by what a run adds to them. */
export const MAX_COUNT = 2 ** 30;
const readCounter = readNumberUpTo(MAX_COUNT);

/** @throws {@link RunPlanError} for a row that holds something else than this library writes */
export function runOf(row: RunRow): RunRow {
  const stored = new StoredRow(RunSchema, row);
  const text = (property: keyof RunRow): string => stored.cell(property, readText, '');
  const run: RunRow = {
    id: text('id'),
    mode: text('mode'),
    tablePath: text('tablePath'),
    scope: text('scope'),
    structure: text('structure'),
    // From 0, and the first may be over the rows that come first.
    pass: stored.cell('pass', readNumberUpTo(MAX_PASSES), 0),
    state: stored.cell('state', readOneOf(['running', 'done']), 'done'),
    startedAt: text('startedAt'),
    endedAt: stored.nullable('endedAt', readText, null),
  };
  const [first] = stored.unreadable;
  if (first === undefined) return run;
  throw unreadable(`run ${run.id} in field_encryption_runs`, first);
}

/** @throws {@link RunPlanError} for a row that holds something else than this library writes */
export function rangeOf(row: RangeRow): StoredRange {
  const stored = new StoredRow(RangeSchema, row);
  const counter = (property: keyof RangeRow): number => stored.cell(property, readCounter, 0);
  const key = (property: keyof RangeRow): RowKey | null =>
    stored.nullable(property, (value) => keyFromText(readText(value)), null);
  const range: StoredRange = {
    runId: stored.cell('runId', readText, ''),
    pass: counter('pass'),
    seq: counter('seq'),
    lower: key('lower'),
    upper: key('upper'),
    cursor: key('cursor'),
    done: stored.cell('done', readOneOf([0, 1]), 0),
    owner: stored.cell('owner', readText, ''),
    fence: counter('fence'),
    leaseUntil: stored.cell('leaseUntil', readWholeNumber, 0),
    changed: counter('changed'),
    lost: counter('lost'),
  };
  const [first] = stored.unreadable;
  if (first === undefined) return range;
  throw unreadableRange(range, first);
}

/** For a checkpoint by which nobody can tell which rows are done. */
export function unreadableRange(
  { runId, pass, seq }: Pick<RangeRow, 'runId' | 'pass' | 'seq'>,
  cell: UnreadableCell,
): RunPlanError {
  const range = `range ${String(seq)} of pass ${String(pass)} of run ${runId}`;
  return unreadable(`${range} in field_encryption_ranges`, cell);
}

function unreadable(what: string, { column, cause }: UnreadableCell): RunPlanError {
  return new RunPlanError(
    `${column} of ${what} holds something that this library does not write there; see the cause. Nobody can ` +
      'tell by it which rows are done, and none is taken for done. Put the row back as it was; or start ' +
      'anew with `--restart` (option `restart`), which reads every row again.',
    { cause },
  );
}
