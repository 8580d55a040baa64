import Table from 'cli-table3';

import { boundName, isHeld } from '../bounds';
import type { Verdict } from '../bounds';
import type { Measurement } from '../measure';
import type { Result } from '../scenario';

import { digits, figureNames, formatMs, formatRate } from './format';

/** Lays out a result for a terminal, ratios first. */
export function resultTable(result: Result): string {
  const { scenario, setting, unit, rate, measurements } = result;
  const names = figureNames(result);
  const head = [
    '',
    'ratio',
    'median',
    'min',
    'max',
    'cpu',
    ...(rate === undefined ? [] : [`${rate}/s`]),
  ];
  const table = newTable([...head, ...names]);
  for (const measurement of measurements) {
    table.push([...cells(measurement, rate !== undefined), ...figures(measurement, names)]);
  }
  return `\n${scenario}${setting === '' ? '' : `, ${setting}`} (${unit})\n${table.toString()}`;
}

/** Lays out the verdicts on the bounds. */
export function verdictTable(verdicts: readonly Verdict[]): string {
  const table = newTable(['bound', 'at most', 'is', '']);
  for (const verdict of verdicts) {
    const { bound, setting, value } = verdict;
    const state = value === undefined ? 'NOT MEASURED' : isHeld(verdict) ? 'held' : 'BROKEN';
    const name = `${boundName(bound)}${setting === '' ? '' : ` (${setting})`}`;
    table.push([name, digits(bound.atMost), value === undefined ? '' : digits(value), state]);
  }
  return `\n${table.toString()}`;
}

function cells(
  { variant, ratio, medianMs, minMs, maxMs, cpuMs }: Measurement,
  rate: boolean,
): string[] {
  const times = [medianMs, minMs, maxMs, cpuMs].map(formatMs);
  return [variant, ratio.toFixed(2), ...times, ...(rate ? [formatRate(medianMs)] : [])];
}

function figures({ figures: all }: Measurement, names: readonly string[]): string[] {
  return names.map((name) => {
    const value = all[name];
    return value === undefined ? '' : digits(value);
  });
}

function newTable(head: string[]): Table.Table {
  return new Table({
    head,
    colAligns: ['left', ...head.slice(1).map(() => 'right' as const)],
    style: { head: [], border: [], compact: true },
  });
}
