import type { Machine } from '../machine';
import type { Result } from '../scenario';

/** What `--json` writes, and the page and the charts are made from. */
export interface Report {
  readonly machine: Machine;
  readonly results: readonly Result[];
}
