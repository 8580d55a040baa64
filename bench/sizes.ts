import type { Rounds } from './measure';
import type { Sizes } from './scenario';

/** Enough for stable medians. */
const FULL: Sizes = {
  rounds: { atLeast: 9, seconds: 3 },
  slowRounds: exactly(9),
  longRounds: exactly(5),
  values: 5000,
  longValues: 1000,
  slowValues: 250,
  rows: 10_000,
  entities: 1000,
  lookups: 500,
  updates: 500,
  rotationRows: 200_000,
  repositoryRows: 5000,
  growth: [],
  dataKeys: [1, 100, 1000],
  rowsOfOwnKey: 1000,
  coldKeys: 50,
  requests: 4000,
  wraps: 1000,
};

/** Just enough to see that every scenario runs. */
const SMOKE: Sizes = {
  rounds: exactly(1),
  slowRounds: exactly(1),
  longRounds: exactly(1),
  values: 20,
  longValues: 10,
  slowValues: 5,
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

/** The options of the command line on how much to do. */
interface Extent {
  readonly smoke: boolean;
  /** Adds tables of up to a million rows. */
  readonly large: boolean;
  readonly rounds?: string | undefined;
}

export function sizesFor({ smoke, large, rounds: given }: Extent): Sizes {
  if (smoke) return SMOKE;
  const rounds = Number(given);
  if (given !== undefined && !(Number.isInteger(rounds) && rounds > 0)) {
    throw new Error(`--rounds takes a whole number above 0, not ${given}.`);
  }
  return {
    ...FULL,
    ...(large ? { growth: [10_000, 100_000, 1_000_000], dataKeys: [1, 1000, 10_000] } : {}),
    ...(given === undefined ? {} : sameRounds(exactly(rounds))),
  };
}

function sameRounds(rounds: Rounds): Pick<Sizes, 'rounds' | 'slowRounds' | 'longRounds'> {
  return { rounds, slowRounds: rounds, longRounds: rounds };
}

function exactly(rounds: number): Rounds {
  return { atLeast: rounds, seconds: 0 };
}
