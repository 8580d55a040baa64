import type { DataSource } from 'typeorm';

import { KeyStateError } from '../../errors';
import type { RunRow } from '../../typeorm/tables/run-tables';
import { LEASE_MS } from '../database/row';
import type { Lease } from '../database/row';
import { runDatabaseOf } from '../database/database-of';

import { RangeStore } from './range-store';
import { RunStore } from './run-store';

/** How often a lead is asked for that nobody has, and that is not free. */
const ATTEMPTS = 10;

/** Who has a lead, and until when unless that is renewed, by the clock of the database. */
export interface LeadHolder {
  /** Host, process and a random part. */
  readonly owner: string;
  readonly until: Date;
}

/** The lead of work that one process at a time may do: a run without rows, whose one range is leased as a whole. */
export class Lead {
  readonly #ranges: RangeStore;
  readonly #runs: RunStore;
  readonly #timer: NodeJS.Timeout;
  #held: { readonly run: RunRow; readonly lease: Lease } | undefined;

  private constructor(ranges: RangeStore, runs: RunStore) {
    this.#ranges = ranges;
    this.#runs = runs;
    // What fails here, the next `holds` finds.
    const renew = (): void => void this.holds().catch(() => undefined);
    this.#timer = setInterval(renew, LEASE_MS / 3).unref();
  }

  /**
   * Takes the lead of some work. It ends with the process.
   *
   * @returns the lead, or who else has it.
   * @throws {@link ConfigurationError} when the tables of runs are missing
   */
  static async take(
    dataSource: DataSource,
    mode: string,
    scope: string,
  ): Promise<Lead | LeadHolder> {
    const runs = new RunStore(dataSource);
    await runs.requireTables();
    for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
      const taken = await Lead.#try(dataSource, runs, mode, scope);
      if (taken !== undefined) return taken;
    }
    throw new KeyStateError(
      `${mode}: others take and end the lead of it all the time. Try again.`,
      {
        retryable: true,
      },
    );
  }

  /** Returns undefined where nobody has it, or its work has ended meanwhile. */
  static async #try(
    dataSource: DataSource,
    runs: RunStore,
    mode: string,
    scope: string,
  ): Promise<Lead | LeadHolder | undefined> {
    const { run } = await runs.open({ mode, scope, tablePath: mode, structure: '' }, false);
    const lead = new Lead(new RangeStore(dataSource, runDatabaseOf(dataSource), runs), runs);
    const claim = await lead.#ranges.claim({
      run,
      pass: 0,
      boundary: () => Promise.resolve(undefined),
    });
    if (claim.kind === 'range') {
      lead.#held = { run, lease: claim.lease };
      return lead;
    }
    const holder = claim.kind === 'wait' ? await lead.#ranges.holder(run) : undefined;
    await lead.end();
    // The range of a lead is never done, unless somebody wrote that past the library.
    if (claim.kind === 'passDone') await runs.end(run);
    return holder;
  }

  /** Renews the lead. Returns false where another process has taken it. */
  async holds(): Promise<boolean> {
    return this.#held !== undefined && this.#ranges.renew(this.#held.lease);
  }

  /** Gives the lead back, for good where the work is `done`. */
  async end(done = false): Promise<void> {
    clearInterval(this.#timer);
    if (this.#held !== undefined && done) await this.#runs.end(this.#held.run);
    else if (this.#held !== undefined) await this.#ranges.release(this.#held.lease);
    this.#held = undefined;
    this.#ranges.close();
  }
}
