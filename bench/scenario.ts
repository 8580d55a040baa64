import type { Measurement } from './measure';

/** How much work a scenario does. */
export interface Sizes {
  /** Values in a round of the one-value scenarios. */
  readonly values: number;
  /** Rows in the tables of the TypeORM scenarios. */
  readonly rows: number;
  readonly rounds: number;
}

/** Enough for stable medians, and just enough to see that every scenario runs. */
export const SIZES: Readonly<Record<'full' | 'smoke', Sizes>> = {
  full: { values: 20_000, rows: 10_000, rounds: 7 },
  smoke: { values: 50, rows: 20, rounds: 1 },
};

/** A comparison; the first variant is the base of the ratios. */
export interface Result {
  readonly scenario: string;
  readonly unit: string;
  readonly measurements: readonly Measurement[];
}

export type Scenario = (sizes: Sizes) => Promise<Result[]>;
