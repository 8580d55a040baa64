import { measurementOf } from '../measure';
import { ratioOf } from '../ratio';
import type { Result } from '../scenario';

import type { Report } from './report';

/** Replaces a ratio that was not measured. */
export const UNMEASURED = 'an unmeasured number of';

/** Formats how many times as long a variant takes, over all settings: `1.4`, or `1.2 to 1.6`. */
export function ratios(report: Report, scenario: string, variant: string, over: string): string {
  const all = resultsOf(report, scenario).flatMap(({ measurements }) => {
    const [found, base] = [variant, over].map((name) => measurementOf(measurements, name));
    return found === undefined || base === undefined ? [] : [ratioOf(found, base)];
  });
  if (all.length === 0) return UNMEASURED;
  const [least, most] = [Math.min(...all), Math.max(...all)].map(rounded);
  return least === most ? String(least) : `${String(least)} to ${String(most)}`;
}

export function resultsOf({ results }: Report, scenario: string): Result[] {
  return results.filter((result) => result.scenario === scenario);
}

function rounded(value: number): string {
  return value >= 10 ? String(Math.round(value)) : value.toFixed(value < 1 ? 2 : 1);
}
