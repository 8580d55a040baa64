import type { Result } from '../scenario';

/** A time with three digits and the unit that suits it. */
export function formatMs(ms: number): string {
  if (ms >= 1000) return `${digits(ms / 1000)} s`;
  return ms >= 1 ? `${digits(ms)} ms` : `${digits(ms * 1000)} µs`;
}

/** A number with three digits, thousands apart. */
export function digits(value: number): string {
  const rounded = value >= 100 ? Math.round(value) : Number(value.toPrecision(3));
  return rounded.toLocaleString('en');
}

/** Items a second. */
export function formatRate(medianMs: number): string {
  return digits(Number((1000 / medianMs).toPrecision(3)));
}

/** The figures that any variant of a result has beside its times. */
export function figureNames({ measurements }: Result): string[] {
  return [...new Set(measurements.flatMap(({ figures }) => Object.keys(figures)))];
}
