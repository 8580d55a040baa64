import type { Machine } from '../machine';
import type { Result } from '../scenario';

/** The output of `--json`, from which the page and the charts are made. */
export interface Report {
  /** A remark on the run for readers of its figures. */
  readonly remark?: string;
  readonly machine: Machine;
  readonly results: readonly Result[];
}
