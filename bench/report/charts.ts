import type { Measurement } from '../measure';
import type { Result } from '../scenario';
import { OURS, VARIANTS } from '../variants';

import { barChart } from './bar-chart';
import type { BarGroup } from './bar-chart';
import { formatMs, formatRate } from './format';
import type { Report } from './report';

/** The figure of a measurement that a chart shows. */
interface Scale {
  readonly value: (measurement: Measurement) => number;
  readonly text: (measurement: Measurement) => string;
}

const TIME: Scale = {
  value: ({ medianMs }) => medianMs,
  text: ({ medianMs }) => formatMs(medianMs),
};
const TIMES_PLAIN: Scale = { value: ({ ratio }) => ratio, text: ({ ratio }) => ratio.toFixed(2) };
const RATE: Scale = {
  value: ({ medianMs }) => 1 / medianMs,
  text: ({ medianMs }) => formatRate(medianMs),
};

/** Draws every chart of the page, by file name. */
export function charts({ results }: Report): Record<string, string> {
  const of = (...scenarios: string[]): Result[] =>
    results.filter(({ scenario }) => scenarios.includes(scenario));
  const bySetting = ({ setting }: Result): string => setting;
  const byScenario = ({ scenario }: Result): string => scenario;
  const one = of('encrypt 64 B', 'decrypt 64 B').map(withoutTheSlowest);
  const writes = of(
    'save() of new entities in chunks',
    'insert() in chunks',
    'update() of one secret column',
    'save() of untouched entities',
  ).filter(({ setting }) => setting === results.findLast(isOnPostgres)?.setting);
  return {
    'one-value.svg': barChart({
      title: 'One value of 64 bytes, less is better',
      groups: groups(one, byScenario, TIME),
    }),
    'find.svg': barChart({
      title: 'find() of many rows, time over plain columns, less is better',
      groups: groups(of('find()'), bySetting, TIMES_PLAIN),
    }),
    'writes.svg': barChart({
      title: `Writes, time over plain columns, less is better (${writes[0]?.setting ?? ''})`,
      groups: groups(writes, byScenario, TIMES_PLAIN),
    }),
    'rotation.svg': barChart({
      title: 'Re-encryption, rows a second, more is better',
      groups: groups(of('rotation'), bySetting, RATE),
    }),
    'http.svg': barChart({
      title: 'HTTP service, requests a second, more is better',
      groups: groups(of('HTTP service'), bySetting, RATE),
    }),
  };
}

function groups(
  results: readonly Result[],
  title: (result: Result) => string,
  { value, text }: Scale,
): BarGroup[] {
  return results.map((result) => ({
    title: title(result),
    bars: result.measurements.map((measurement) => ({
      label: measurement.variant,
      value: value(measurement),
      text: text(measurement),
      ours: OURS.has(measurement.variant),
    })),
  }));
}

function isOnPostgres({ scenario, setting }: Result): boolean {
  return scenario === 'find()' && setting.endsWith('PostgreSQL');
}

/** Leaves out the slowest variant, beside which all bars would be dots; the table has it. */
function withoutTheSlowest(result: Result): Result {
  const measurements = result.measurements.filter(
    ({ variant }) => variant !== VARIANTS.cipherSweet,
  );
  return { ...result, measurements };
}
