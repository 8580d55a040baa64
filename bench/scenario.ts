import type { DatabaseKind } from './databases';
import type { Measurement, Rounds } from './measure';
import type { Major } from './typeorm-major';

/** How much work the scenarios do. */
export interface Sizes {
  readonly rounds: Rounds;
  /** Rounds of what takes a second or so. */
  readonly slowRounds: Rounds;
  /** Rounds of what takes ten seconds and more. */
  readonly longRounds: Rounds;
  /** Values in a round of the one-value scenarios. */
  readonly values: number;
  /** The same, of values above 1 KiB, and for peers that are far slower. */
  readonly longValues: number;
  readonly slowValues: number;
  /** Rows of the tables that are read. */
  readonly rows: number;
  /** Entities that are saved or inserted at once. */
  readonly entities: number;
  readonly lookups: number;
  readonly updates: number;
  /** Rows that are re-encrypted. */
  readonly rotationRows: number;
  /** Rows that go through a repository meanwhile, which is far slower. */
  readonly repositoryRows: number;
  /** Tables of so many rows show how rotation grows; none when empty. */
  readonly growth: readonly number[];
  /** Data keys in the key table, for the time a start takes. */
  readonly dataKeys: readonly number[];
  /** Rows that are each under a data key of their own. */
  readonly rowsOfOwnKey: number;
  readonly coldKeys: number;
  readonly requests: number;
  readonly wraps: number;
}

/** What a scenario is given. */
export interface Setting {
  readonly sizes: Sizes;
  readonly database: DatabaseKind;
}

/** A comparison; the first variant is the base of the ratios. */
export interface Result {
  /** What bounds and the documentation know it by. */
  readonly scenario: string;
  /** Where it ran, such as `TypeORM 1.1.1, PostgreSQL`; empty where nothing of that matters. */
  readonly setting: string;
  /** What the times are of. */
  readonly unit: string;
  /** Processes that shared the rounds out among themselves; one, where it does not say. */
  readonly processes?: number;
  /** Name of the items, where their rate says more than their time. */
  readonly rate?: string;
  readonly measurements: readonly Measurement[];
}

export interface Scenario {
  readonly majors: readonly Major[];
  readonly databases: readonly DatabaseKind[];
  /** Processes that its rounds are shared out among. Defaults to one. */
  readonly processes?: number;
  /** Whether it is measured without the add-on. */
  readonly inJavaScript?: boolean;
  run(setting: Setting): Promise<Result[]>;
}
