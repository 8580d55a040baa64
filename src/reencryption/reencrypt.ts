import { setImmediate as nextTurn } from 'node:timers/promises';
import type { EntityTarget, ObjectLiteral, QueryRunner } from 'typeorm';
import { FieldEncryptionError } from '../errors';
import type { FieldEncryptionErrorCode } from '../errors';
import type { DataKey } from '../keys/data-key';
import type { EncryptedColumn } from '../typeorm/encrypted-column';
import type { Installation } from '../typeorm/installation';
import { encryptedTables } from './encrypted-table';
import type { EncryptedTable } from './encrypted-table';
import { readPage, writePage } from './statement';
import type { RowChange, StoredRow } from './statement';

/** Options of `reencrypt()`. */
export interface ReencryptOptions {
  /** Entities to re-encrypt. Defaults to all with encrypted columns. */
  entities?: readonly EntityTarget<ObjectLiteral>[];
  /** Rows in a page, which is one read and one write. Defaults to 500. */
  batchSize?: number;
  /** Ends the run after the page under way; what is done stays done. */
  signal?: AbortSignal;
  /** Called after every page. */
  onProgress?: (progress: ReencryptProgress) => void;
  /** Counts what would change and changes nothing. Defaults to `false`. */
  dryRun?: boolean;
}

/** How far a run has come. */
export interface ReencryptProgress {
  readonly entity: string;
  /** Rows read so far, and rows in all tables when the run began. */
  readonly scanned: number;
  readonly total: number;
  readonly changed: number;
}

/** A row that could not be read, by primary key. */
export interface ReencryptFailure {
  readonly entity: string;
  readonly property: string;
  readonly primaryKey: readonly unknown[];
  readonly code: FieldEncryptionErrorCode;
}

/** What a run did. */
export interface ReencryptReport {
  /** Rows read, in the first pass over each table. */
  readonly scanned: number;
  /** Rows rewritten (in a dry run: that would be). */
  readonly changed: number;
  /** Rows that were under the active key already. */
  readonly skipped: number;
  /** Rows that another writer kept changing; run again. */
  readonly conflicts: number;
  /** Rows that do not decrypt; they are left as they are. */
  readonly failed: number;
  /** The first 100 of those. */
  readonly failures: readonly ReencryptFailure[];
  /** Whether `signal` ended the run early. */
  readonly aborted: boolean;
}

/** A row that loses the race against a writer is read again by the next pass, this many times. */
const MAX_PASSES = 5;
const MAX_FAILURES_LISTED = 100;
/** Parameters one statement may have: SQLite's limit, the lowest. */
const MAX_PARAMETERS = 32_000;

/**
 * Moves every row to the active data key.
 *
 * Walks each table by primary key and swaps stored values one page a statement, each row only if it
 * still holds what was read, so that no concurrent write is lost. Runs no entity hooks and touches no
 * version or update-date column. Can be run again at any time.
 */
export async function reencrypt(
  installation: Installation,
  options: ReencryptOptions = {},
): Promise<ReencryptReport> {
  await installation.confirmAll();
  const tables = encryptedTables(installation, options.entities);
  const run = new ReencryptRun(installation, options);
  await run.countRows(tables);
  for (const table of tables) await run.table(table);
  return run.report();
}

class ReencryptRun {
  readonly #installation: Installation;
  readonly #options: ReencryptOptions;
  readonly #failures: ReencryptFailure[] = [];
  #total = 0;
  #scanned = 0;
  #changed = 0;
  #skipped = 0;
  #conflicts = 0;
  #failed = 0;

  constructor(installation: Installation, options: ReencryptOptions) {
    this.#installation = installation;
    this.#options = options;
  }

  get #aborted(): boolean {
    return this.#options.signal?.aborted ?? false;
  }

  report(): ReencryptReport {
    return {
      scanned: this.#scanned,
      changed: this.#changed,
      skipped: this.#skipped,
      conflicts: this.#conflicts,
      failed: this.#failed,
      failures: this.#failures,
      aborted: this.#aborted,
    };
  }

  async countRows(tables: readonly EncryptedTable[]): Promise<void> {
    for (const { name } of tables) {
      const [row] = await this.#withRunner(
        async (runner) =>
          (await runner.query(`SELECT COUNT(*) AS total FROM ${name}`)) as {
            total: number | string;
          }[],
      );
      this.#total += Number(row?.total ?? 0);
    }
  }

  async table(table: EncryptedTable): Promise<void> {
    let lost = 0;
    for (let pass = 1; pass <= MAX_PASSES && !this.#aborted; pass++) {
      lost = await this.#pass(table, pass === 1);
      if (lost === 0) return;
    }
    this.#conflicts += lost;
  }

  /** One walk over the table; returns how many rows another writer changed meanwhile. */
  async #pass(table: EncryptedTable, first: boolean): Promise<number> {
    const limit = this.#pageSize(table);
    let after: readonly unknown[] | undefined;
    let lost = 0;
    while (!this.#aborted) {
      const rows = await this.#withRunner((runner) => readPage(runner, table, after, limit));
      if (rows.length === 0) break;
      lost += await this.#page(table, rows, first);
      after = rows.at(-1)?.primaryKey;
      // A synchronous driver never waits for anything: signals and the application need their turn.
      await nextTurn();
    }
    return lost;
  }

  async #page(table: EncryptedTable, rows: readonly StoredRow[], first: boolean): Promise<number> {
    await this.#loadKeys(table, rows);
    const changes = rows.flatMap((row) => this.#change(table, row, first) ?? []);
    const written =
      changes.length === 0 || this.#options.dryRun === true
        ? changes.length
        : await this.#withRunner((runner) => writePage(runner, table, changes));
    this.#changed += written;
    if (first) this.#scanned += rows.length;
    this.#options.onProgress?.({
      entity: table.metadata.name,
      scanned: this.#scanned,
      total: Math.max(this.#total, this.#scanned),
      changed: this.#changed,
    });
    return changes.length - written;
  }

  async #loadKeys({ columns }: EncryptedTable, rows: readonly StoredRow[]): Promise<void> {
    const prefixes = new Set<string>();
    for (const { stored } of rows) {
      columns.forEach(({ cipher }, i) => {
        const found = cipher.inspect(stored[i]);
        if (found.kind === 'ciphertext') prefixes.add(found.prefix);
      });
    }
    await this.#installation.loadKeys(prefixes);
    await this.#installation.prepareAll();
  }

  /** `undefined` for a row that is under the active key already, or that cannot be read. */
  #change(table: EncryptedTable, row: StoredRow, first: boolean): RowChange | undefined {
    const to: unknown[] = [];
    for (const [i, encrypted] of table.columns.entries()) {
      try {
        to.push(this.#moved(encrypted, row.stored[i]));
      } catch (error) {
        if (!(error instanceof FieldEncryptionError) || error.retryable) throw error;
        if (first) this.#fail(encrypted, row, error.code);
        return undefined;
      }
    }
    if (to.every((value, i) => value === row.stored[i])) {
      if (first) this.#skipped += 1;
      return undefined;
    }
    return { primaryKey: row.primaryKey, from: row.stored, to };
  }

  /** The stored value under the active key; the same value where it is already. */
  #moved({ cipher, policy, readsPlaintext }: EncryptedColumn, stored: unknown): unknown {
    if (stored === null || stored === undefined) return stored;
    const found = cipher.inspect(stored);
    // Encrypting cleartext is another run; here it is left to be.
    if (readsPlaintext && found.kind !== 'ciphertext' && !cipher.isDamaged(stored)) return stored;
    const active = this.#installation.keys.activeKey(policy.keyName);
    if (found.kind === 'ciphertext' && this.#isCurrent(found.prefix, active)) return stored;
    return cipher.sealRaw(cipher.openRaw(stored));
  }

  /** A newer key than the active one is the work of a rotation that this process has not seen yet. */
  #isCurrent(prefix: string, active: DataKey): boolean {
    if (prefix === active.prefix) return true;
    const { name, version } = this.#installation.keys.keyByPrefix(prefix);
    return name === active.name && version > active.version;
  }

  #fail(
    { policy }: EncryptedColumn,
    { primaryKey }: StoredRow,
    code: FieldEncryptionErrorCode,
  ): void {
    this.#failed += 1;
    if (this.#failures.length >= MAX_FAILURES_LISTED) return;
    this.#failures.push({ entity: policy.entity, property: policy.property, primaryKey, code });
  }

  #pageSize({ metadata, columns }: EncryptedTable): number {
    const perRow = metadata.primaryColumns.length + 2 * columns.length;
    const fitting = Math.floor(MAX_PARAMETERS / perRow);
    return Math.max(1, Math.min(this.#options.batchSize ?? 500, fitting));
  }

  /** A connection for one statement, so that the run leaves a pool of one to the application in between. */
  async #withRunner<T>(work: (runner: QueryRunner) => Promise<T>): Promise<T> {
    const runner = this.#installation.dataSource.createQueryRunner('master');
    try {
      return await work(runner);
    } finally {
      await runner.release();
    }
  }
}
