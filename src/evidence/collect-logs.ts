import type { TreeHead } from '../audit/merkle-tree';
import type { QueryRunner } from 'typeorm';

import type { AuditEntry } from '../audit/audit-entry';
import type { VerifiedLog } from '../keys/audit/verify-log';
import { catalogOf } from '../typeorm/dialect/dialect-of';
import { escapedTable } from '../typeorm/dialect/escaped-table';
import type { Installation } from '../typeorm/installation/installation';
import { AccessSchema } from '../typeorm/tables/access-table';
import { AuditSchema } from '../typeorm/tables/typeorm-audit-store';

import { plain } from './plain';
import type {
  AccessEvidence,
  AuditEvidence,
  BackupEvidence,
  DrillEvidence,
  KeyEvidence,
} from './report';

/** The most actors with an operation each, so that memory is bounded however many there are. */
const MOST_ACTORS = 1_000;
/** The most of what is listed of one kind, the newest. */
const MOST_LISTED = 100;

type Operation = AuditEvidence['operations'][number];
type Change = KeyEvidence['history'][number];

/** What one pass over the audit log tells besides that it holds. Keeps counts and the newest, not the entries. */
export class AuditTally {
  readonly backups: BackupEvidence[] = [];
  readonly drills: DrillEvidence[] = [];
  readonly #operations = new Map<string, Operation>();
  readonly #histories: ReadonlyMap<string, Change[]>;

  /** @param keyIds - the keys whose changes are kept. */
  constructor(keyIds: readonly string[]) {
    this.#histories = new Map(keyIds.map((id) => [id, []]));
  }

  readonly note = (entry: AuditEntry): void => {
    this.#count(entry);
    this.#noteChange(entry);
    const { operation, outcome, reference, counts, seq, time, actor } = entry;
    const restorable = { seq, time, actor, backupId: reference, keys: counts['keys'] ?? null };
    if (operation === 'backup' && outcome === 'done') add(this.backups, restorable);
    if (operation !== 'drill' || (outcome !== 'done' && outcome !== 'failed')) return;
    const backup = this.backups.at(-1);
    const age = backup && Date.parse(time) - Date.parse(backup.time);
    const measured = { rpoMs: age ?? null, rtoMs: counts['ms'] ?? null };
    add(this.drills, { ...restorable, ok: outcome === 'done', ...measured });
  };

  get operations(): readonly Operation[] {
    return [...this.#operations.values()];
  }

  /** Returns the changes of the state of a key. */
  history(keyId: string): readonly Change[] {
    return this.#histories.get(keyId) ?? [];
  }

  #count({ actor, operation, outcome, time }: AuditEntry): void {
    const own = JSON.stringify([actor, operation, outcome]);
    const hasRoom = this.#operations.has(own) || this.#operations.size < MOST_ACTORS;
    // Operations and outcomes are few.
    const key = hasRoom ? own : JSON.stringify([null, operation, outcome]);
    const { count = 0 } = this.#operations.get(key) ?? {};
    const counted = { operation, outcome, count: count + 1, last: time };
    this.#operations.set(key, { actor: hasRoom ? actor : null, ...counted });
  }

  #noteChange({ keyId, keyState, seq, time, actor, operation }: AuditEntry): void {
    const history = keyId === null ? undefined : this.#histories.get(keyId);
    if (history === undefined || keyState === null || history.at(-1)?.state === keyState) return;
    add(history, { seq, time, actor, operation, state: keyState });
  }
}

function add<T>(list: T[], element: T): void {
  if (list.push(element) > MOST_LISTED) list.shift();
}

/** Describes the log by its verification, and the operations in it. */
export function auditEvidence(
  { dataSource, options }: Installation,
  { report, consistency }: VerifiedLog,
  { tally, earlier }: { readonly tally: AuditTally; readonly earlier: TreeHead | undefined },
): AuditEvidence {
  const table = escapedTable(dataSource, dataSource.getMetadata(AuditSchema));
  return {
    ...plain(report),
    consistency: earlier === undefined ? null : { from: earlier.size, proof: consistency },
    kept: options.audit !== false,
    sql:
      `SELECT actor, operation, outcome, COUNT(*) AS total, MAX(time) AS newest FROM ${table} ` +
      `WHERE seq <= ${String(report.entries)} GROUP BY actor, operation, outcome`,
    operations: tally.operations,
  };
}

interface UseRow {
  readonly actor: string | null;
  readonly operation: string;
  readonly entity: string;
  readonly property: string;
  readonly total: number | string;
  readonly oldest: string;
  readonly newest: string;
}

/** Counts who has used values of which property, if the actor may know. */
export async function accessEvidence(
  { access, dataSource, options: { accessLog } }: Installation,
  runner: QueryRunner,
): Promise<AccessEvidence> {
  const kept = accessLog === undefined ? 'none' : accessLog.sink === undefined ? 'table' : 'sink';
  const metadata = dataSource.getMetadata(AccessSchema);
  const missing =
    kept === 'table' && !(await catalogOf(runner).tableExists(runner, metadata.tablePath));
  if (kept !== 'table' || missing || !access.allows('access list')) {
    return { kept, missing, sql: null, uses: [] };
  }
  const table = escapedTable(dataSource, metadata);
  const sql =
    'SELECT actor, operation, entity, property, SUM(value_count) AS total, MIN(time) AS oldest, ' +
    `MAX(time) AS newest FROM ${table} GROUP BY actor, operation, entity, property ` +
    `ORDER BY total DESC, actor LIMIT ${String(MOST_ACTORS)}`;
  const rows = (await runner.query(sql)) as UseRow[];
  const uses = rows.map(({ total, oldest, newest, ...use }) => ({
    ...use,
    ...{ values: Number(total), first: oldest, last: newest },
  }));
  return { kept, missing, sql, uses };
}
