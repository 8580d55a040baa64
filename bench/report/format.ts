import type { Result } from '../scenario';

/** Formats a time with three digits and a suitable unit. */
export function formatMs(ms: number): string {
  if (ms >= 1000) return `${digits(ms / 1000)} s`;
  return ms >= 1 ? `${digits(ms)} ms` : `${digits(ms * 1000)} µs`;
}

/** Formats a number with three digits and separated thousands. */
export function digits(value: number): string {
  const rounded = value >= 100 ? Math.round(value) : Number(value.toPrecision(3));
  return rounded.toLocaleString('en');
}

/** Formats a rate in items a second. */
export function formatRate(medianMs: number): string {
  return digits(Number((1000 / medianMs).toPrecision(3)));
}

/** Lists the figures that any variant of a result has beside its times. */
export function figureNames({ measurements }: Result): string[] {
  return [...new Set(measurements.flatMap(({ figures }) => Object.keys(figures)))];
}
