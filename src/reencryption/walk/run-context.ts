import type { Installation } from '../../typeorm/installation/installation';
import type { RunDatabase } from '../database/run-database';
import type { Mode } from '../modes/mode';
import type { RangeStore } from '../lease/range-store';
import type { RunOptions } from '../report/run-options';
import type { RunCounts } from '../report/run-report';
import type { RunStore } from '../lease/run-store';

/** What all tables of a run have in common. */
export interface RunContext {
  readonly installation: Installation;
  readonly database: RunDatabase;
  readonly store: RunStore;
  readonly ranges: RangeStore;
  readonly mode: Mode;
  readonly options: RunOptions;
  readonly counts: RunCounts;
}
