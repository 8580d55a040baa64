import { AccessVerification } from './access/access-chain';
import type { BrokenAccess } from './access/access-chain';
import type { AccessEntry, AccessRange } from './access/access-entry';
import type { Installation } from './typeorm/installation/installation';
import { TypeormAccessStore } from './typeorm/tables/typeorm-access-store';

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
const DEFAULT_LIMIT = 100;

/** Entries of the access log, and what was done to it. */
export interface AccessReport {
  /** Whether every entry of the time that was asked for is as it was written. */
  readonly ok: boolean;
  /** Those that were asked for, by time. */
  readonly entries: readonly AccessEntry[];
  /** The first 100 that are wrong, whether they were asked for or not. */
  readonly broken: readonly BrokenAccess[];
}

/** The access log of a DataSource: who has used values of which property, and how many. */
export class AccessTrail {
  readonly #installation: Installation;

  /** @internal */
  constructor(installation: Installation) {
    this.#installation = installation;
  }

  /**
   * Lists entries of the table, and verifies all of the time that they are of. What was cut off at the beginning or
   * the end of what a process wrote is not seen.
   *
   * @throws {@link AccessDeniedError} below level 2; {@link KmsUnavailableError} when the key of the log does not unwrap
   */
  list(range: AccessRange = {}): Promise<AccessReport> {
    return this.#installation.access.run('access list', () => this.#list(range));
  }

  /** Writes what this process has counted up to now, which it otherwise does every minute. Failures are events. */
  async flush(): Promise<void> {
    await this.#installation.accessLog?.flush();
  }

  async #list(range: AccessRange): Promise<AccessReport> {
    const { dataSource, audit, options } = this.#installation;
    const now = options.now?.() ?? new Date();
    const { limit = DEFAULT_LIMIT, since = new Date(now.getTime() - DAY_MS) } = range;
    const verification = new AccessVerification(audit.key.finder());
    const minute = new Date(Math.floor(since.getTime() / MINUTE_MS) * MINUTE_MS);
    let entries: AccessEntry[] = [];
    for await (const [entry, seal] of new TypeormAccessStore(dataSource).from(minute)) {
      await verification.follow(entry, seal);
      if (!isAskedFor(entry, range)) continue;
      // They come by their writers, and only the newest are wanted.
      if (entries.push(entry) >= 2 * limit + 1000) entries = newest(entries, limit);
    }
    const { broken } = verification;
    return { ok: broken.length === 0, entries: newest(entries, limit), broken };
  }
}

function isAskedFor(entry: AccessEntry, { actor, column, row }: AccessRange): boolean {
  return (
    (actor === undefined || entry.actor?.startsWith(actor) === true) &&
    (column === undefined || `${entry.entity}.${entry.property}` === column) &&
    (row === undefined || JSON.stringify(entry.primaryKey) === JSON.stringify(row))
  );
}

function newest<E extends AccessEntry>(entries: readonly E[], limit: number): E[] {
  return [...entries]
    .sort((a, b) => (a.time < b.time ? -1 : Number(a.time > b.time)))
    .slice(-limit);
}
