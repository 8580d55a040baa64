import type { Machine } from '../machine';
import type { Result } from '../scenario';

/** What `--json` writes, and the page and the charts are made from. */
export interface Report {
  /** What a reader has to know about the run before its figures. */
  readonly remark?: string;
  readonly machine: Machine;
  readonly results: readonly Result[];
}
