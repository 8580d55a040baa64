import { measurementOf } from '../measure';
import type { Result } from '../scenario';

import { digits, figureNames, formatMs, formatRate } from './format';

/** A column of a matrix: one result under a heading. */
export interface Column {
  readonly heading: string;
  readonly result: Result;
}

/** Writes a table of variants by results: ratios, with medians or rates. */
export function matrix(columns: readonly Column[]): string {
  const variants = new Set(
    columns.flatMap(({ result }) => result.measurements.map(({ variant }) => variant)),
  );
  const rows = [...variants].map((name) => [
    code(name),
    ...columns.map(({ result }) => {
      const found = measurementOf(result.measurements, name);
      if (found === undefined) return '–';
      const { ratio, medianMs } = found;
      return `${formatRatio(ratio)} (${amount(result, medianMs)})`;
    }),
  ]);
  return table(['', ...columns.map(({ heading }) => heading)], rows);
}

/** Writes a table of one result with its spread and other figures. */
export function details(result: Result): string {
  const names = figureNames(result);
  const { rate } = result;
  const rows = result.measurements.map(
    ({ variant, ratio, medianMs, minMs, maxMs, cpuMs, figures }) => [
      code(variant),
      formatRatio(ratio),
      amount(result, medianMs),
      `${formatMs(minMs)} – ${formatMs(maxMs)}`,
      formatMs(cpuMs),
      ...names.map((name) => digits(figures[name] ?? 0)),
    ],
  );
  return table(
    [
      '',
      'ratio',
      rate === undefined ? 'median' : `${rate}/s`,
      'spread',
      'processor time',
      ...names,
    ],
    rows,
  );
}

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  const rule = head.map((_, i) => (i === 0 ? '---' : '---:'));
  return [line(head), line(rule), ...rows.map(line)].join('\n');
}

function formatRatio(ratio: number): string {
  return ratio >= 10 ? digits(ratio) : ratio.toFixed(2);
}

/** Quotes a name, so that it is not read as markup. */
export function code(name: string): string {
  return /[*_|<@]/.test(name) ? `\`${name.replaceAll('|', '\\|')}\`` : name;
}

function amount({ rate }: Result, medianMs: number): string {
  return rate === undefined ? formatMs(medianMs) : `${formatRate(medianMs)}/s`;
}
