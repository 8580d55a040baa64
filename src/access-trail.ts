import { IsArray, IsDate, IsInt, IsOptional, IsString, Min } from 'class-validator';

import { AccessVerification } from './access/access-chain';
import type { BrokenAccess } from './access/access-chain';
import type { AccessEntry, AccessLogOptions, AccessRange } from './access/access-entry';
import { AuditError, ConfigurationError } from './errors';
import { requireOptions } from './typeorm/declare/option-rules';
import type { Installation } from './typeorm/installation/installation';
import { describeColumn } from './typeorm/metadata/encrypted-column';
import { TypeormAccessStore } from './typeorm/tables/typeorm-access-store';

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
const DEFAULT_LIMIT = 100;

/** Entries of the access log, and what was done to it. */
export interface AccessReport {
  /** Whether every entry of the time that was asked for is as it was written. */
  readonly ok: boolean;
  /** How many entries are of that time, each of which was verified. */
  readonly verified: number;
  /** Those that were asked for, by time. */
  readonly entries: readonly AccessEntry[];
  /** The first 100 that are wrong, whether they were asked for or not. */
  readonly broken: readonly BrokenAccess[];
}

class RangeRules {
  @IsOptional() @IsString() actor?: unknown;
  @IsOptional() @IsString() column?: unknown;
  @IsOptional() @IsArray() @IsString({ each: true }) row?: unknown;
  @IsOptional() @IsDate() since?: unknown;
  @IsOptional() @IsInt() @Min(1) limit?: unknown;
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
   * @throws {@link AccessDeniedError} below level 2; {@link KmsUnavailableError} when the key of the log does not
   * unwrap; {@link ConfigurationError} for wrong options, for a `column` that is neither encrypted nor in any entry,
   * and where `accessLog` writes no table
   */
  async list(range: AccessRange = {}): Promise<AccessReport> {
    requireOptions('accessLog.list', RangeRules, range);
    return this.#installation.access.run('access list', () => this.#list(range));
  }

  /**
   * Writes what this process has counted up to now, which it otherwise does every minute.
   *
   * @throws {@link AuditError} if the table or the sink did not take it; it waits to be written then
   */
  async flush(): Promise<void> {
    const { accessLog } = this.#installation;
    await accessLog?.flush();
    if (accessLog?.failure === undefined) return;
    throw new AuditError(
      `${String(accessLog.size)} entries of the access log could not be written; see the cause. They wait.`,
      { cause: accessLog.failure },
    );
  }

  async #list(range: AccessRange): Promise<AccessReport> {
    const { dataSource, audit, options } = this.#installation;
    requireTable(options.accessLog);
    const now = options.now?.() ?? new Date();
    const { limit = DEFAULT_LIMIT, since = new Date(now.getTime() - DAY_MS) } = range;
    const verification = new AccessVerification(audit.key.finder());
    const minute = new Date(Math.floor(since.getTime() / MINUTE_MS) * MINUTE_MS);
    let entries: AccessEntry[] = [];
    let verified = 0;
    for await (const [entry, seal] of new TypeormAccessStore(dataSource).from(minute)) {
      await verification.follow(entry, seal);
      verified += 1;
      if (!isAskedFor(entry, range)) continue;
      // They come by their writers, and only the newest are wanted.
      if (entries.push(entry) >= 2 * limit + 1000) entries = newest(entries, limit);
    }
    if (entries.length === 0) this.#requireColumn(range.column);
    const { broken } = verification;
    return { ok: broken.length === 0, verified, entries: newest(entries, limit), broken };
  }

  /** Refuses a misspelt property, since "no entries" would read as if nobody had used it. */
  #requireColumn(column: string | undefined): void {
    if (column === undefined) return;
    const known = [...this.#installation.columns.byColumn.values()].map(describeColumn);
    if (known.includes(column)) return;
    throw new ConfigurationError(
      `accessLog.list: column must be an encrypted property, Entity.property (known are ${known.join(', ')}).`,
    );
  }
}

/** Refuses to list a table that nothing is written to. */
function requireTable(options: AccessLogOptions | undefined): void {
  if (options !== undefined && options.sink === undefined) return;
  throw new ConfigurationError(
    options === undefined
      ? 'accessLog.list: the option `accessLog` is off, so nothing is recorded.'
      : 'accessLog.list: the entries go to `accessLog.sink`, and no table has them.',
  );
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
