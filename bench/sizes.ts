import type { Sizes } from './scenario';

/** Enough for stable medians. */
const FULL: Sizes = {
  rounds: 9,
  slowRounds: 5,
  values: 5000,
  rows: 10_000,
  entities: 1000,
  lookups: 500,
  updates: 200,
  rotationRows: 200_000,
  repositoryRows: 5000,
  growth: [],
  dataKeys: [1, 100, 10_000],
  rowsOfOwnKey: 1000,
  coldKeys: 50,
  requests: 4000,
  wraps: 1000,
};

/** Just enough to see that every scenario runs. */
const SMOKE: Sizes = {
  rounds: 1,
  slowRounds: 1,
  values: 20,
  rows: 20,
  entities: 10,
  lookups: 5,
  updates: 5,
  rotationRows: 100,
  repositoryRows: 20,
  growth: [20, 50],
  dataKeys: [1, 5],
  rowsOfOwnKey: 10,
  coldKeys: 5,
  requests: 40,
  wraps: 10,
};

/** `large` adds tables of up to a million rows. */
export function sizesFor({ smoke, large }: { smoke: boolean; large: boolean }): Sizes {
  if (smoke) return SMOKE;
  return large ? { ...FULL, growth: [10_000, 100_000, 1_000_000] } : FULL;
}
