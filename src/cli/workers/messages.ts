import type { WritingMode } from '../../reencryption/run-mode';
import type { RunOptions } from '../../reencryption/run-options';
import type { RunProgress, RunReport } from '../../reencryption/run-report';

/** What the first process of a group has the others do. */
export interface WorkerOrder {
  readonly mode: WritingMode;
  readonly options: RunOptions;
  /** Ids of runs, in the order of work. */
  readonly runs: readonly string[];
}

/** What processes of a group tell each other. */
export type Message =
  /** From the first process to another. */
  | { readonly kind: 'work'; readonly order: WorkerOrder }
  | { readonly kind: 'stop' }
  /** From another process to the first. */
  | { readonly kind: 'ready' }
  | { readonly kind: 'progress'; readonly progress: RunProgress }
  | { readonly kind: 'report'; readonly report: RunReport };
