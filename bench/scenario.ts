import type { DatabaseKind } from './databases';
import type { Measurement, Rounds } from './measure';
import type { Major } from './typeorm-major';

/** The amount of work in the scenarios. */
export interface Sizes {
  readonly rounds: Rounds;
  /** Rounds of work that takes a second or so. */
  readonly slowRounds: Rounds;
  /** Rounds of work that takes ten seconds and more. */
  readonly longRounds: Rounds;
  /** Values in a round of the one-value scenarios. */
  readonly values: number;
  /** Values above 1 KiB in a round, and values for peers that are far slower. */
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
  /** Rows that go through a repository instead, which is far slower. */
  readonly repositoryRows: number;
  /** Sizes of tables that show how rotation grows; empty for none. */
  readonly growth: readonly number[];
  /** Data keys in the key table, for the time a start takes. */
  readonly dataKeys: readonly number[];
  /** Rows that are each under a data key of their own. */
  readonly rowsOfOwnKey: number;
  readonly coldKeys: number;
  readonly requests: number;
  readonly wraps: number;
}

/** The setting of a scenario. */
export interface Setting {
  readonly sizes: Sizes;
  readonly database: DatabaseKind;
}

/** A comparison; the first variant is the base of the ratios. */
export interface Result {
  /** Its name in bounds and the documentation. */
  readonly scenario: string;
  /** Where it ran, such as `TypeORM 1.1.1, PostgreSQL`; empty if that does not matter. */
  readonly setting: string;
  /** The unit of work that was timed. */
  readonly unit: string;
  /** Processes that shared the rounds. Defaults to one. */
  readonly processes?: number;
  /** Name of the items, if their rate says more than their time. */
  readonly rate?: string;
  readonly measurements: readonly Measurement[];
}

export interface Scenario {
  readonly majors: readonly Major[];
  readonly databases: readonly DatabaseKind[];
  /** Processes that share its rounds. Defaults to one. */
  readonly processes?: number;
  /** Whether it is measured without the add-on. */
  readonly inJavaScript?: boolean;
  run(setting: Setting): Promise<Result[]>;
}
