import { MAX_FAILURES_LISTED } from './run-report';
import type { RunReport } from './run-report';

/** Merges the reports of several workers of the same runs. The last one says how it ended. */
export function mergedReport(last: RunReport, others: readonly RunReport[]): RunReport {
  const all = [...others, last];
  const sum = (
    count: Extract<
      keyof RunReport,
      | 'scanned'
      | 'changed'
      | 'skipped'
      | 'erased'
      | 'toBeErased'
      | 'doneBefore'
      | 'conflicts'
      | 'failed'
    >,
  ): number => all.reduce((total, report) => total + report[count], 0);
  return {
    ...last,
    scanned: sum('scanned'),
    changed: sum('changed'),
    skipped: sum('skipped'),
    erased: sum('erased'),
    toBeErased: sum('toBeErased'),
    doneBefore: sum('doneBefore'),
    conflicts: sum('conflicts'),
    failed: sum('failed'),
    failures: all.flatMap(({ failures }) => failures).slice(0, MAX_FAILURES_LISTED),
    resumed: all.some(({ resumed }) => resumed),
  };
}
