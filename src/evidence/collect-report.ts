import { IsArray, IsInt, IsOptional, Max, Min } from 'class-validator';
import type { QueryRunner } from 'typeorm';

import { countedRows, encryptionState } from '../doctor/encryption-state';
import type { EncryptionState } from '../doctor/encryption-state';
import { operatorTasks } from '../doctor/operator-tasks';
import { ConfigurationError } from '../errors';
import type { Expectation } from '../keys/audit/verify-log';
import type { KeyInfo } from '../keys/record/key-info';
import { inSnapshot } from '../typeorm/connection/own-transaction';
import { requireOptions } from '../typeorm/declare/option-rules';
import { catalogOf, dialectOf } from '../typeorm/dialect/dialect-of';
import type { Installation } from '../typeorm/installation/installation';
import { scopeCounts } from '../typeorm/tables/counted-scopes';

import { columnEvidence, tableColumns, unencryptedColumns } from './collect-columns';
import {
  kekEvidence,
  keysOfAll,
  policyEvidence,
  providerEvidence,
  suiteEvidence,
  versionEvidence,
} from './collect-keys';
import { accessEvidence, auditEvidence, AuditTally } from './collect-logs';
import { readSample, sampleEvidence } from './collect-samples';
import { unmappedEvidence } from './collect-unmapped';
import { earlierTree, requireContinuation } from './earlier-note';
import { notChecked } from './not-checked';
import { plain } from './plain';
import type { DatabaseEvidence, EvidenceReport } from './report';
import type { Rule } from './rules/rule';
import { judged } from './rules/rules';

/** Options of {@link FieldEncryption.report}. */
export interface ReportOptions {
  /** Rules beside those of the library. */
  readonly rules?: readonly Rule[];
  /** The most values to read of each encrypted column, up to 1,000. Defaults to 20. */
  readonly samples?: number;
  /** An earlier `report.note`, from whose log that of today must go on. */
  readonly since?: string | Uint8Array;
}

class ReportRules {
  @IsOptional() @IsArray() rules?: unknown;
  @IsOptional() @IsInt() @Min(0) @Max(1000) samples?: unknown;
  @IsOptional() since?: unknown;
}

/** See {@link FieldEncryption.report}. */
export async function collectReport(
  installation: Installation,
  options: ReportOptions = {},
): Promise<EvidenceReport> {
  requireOptions('report', ReportRules, options);
  const { samples = 20, since } = options;
  const rules = options.rules ?? [];
  const state = await stateToReport(installation);
  const time = installation.options.now?.() ?? (await installation.store.now());
  const providers = await providerEvidence(installation, time);
  const earlier = earlierTree(installation.options, since);
  const expected = await installation.audit.expectation({ tree: earlier });
  const read = await inSnapshot(installation.dataSource, (runner) =>
    readAll(installation, runner, { samples, expected }),
  );
  const audit = await installation.audit.judge(read.followed);
  if (earlier !== undefined) requireContinuation(audit.report);
  const columns = await withSamples(installation, read);
  const report = {
    ...{ version: 1, application: installation.options.application, time: time.toISOString() },
    database: read.database,
    versions: versionEvidence(installation),
    suites: suiteEvidence(installation, read.keys),
    columns,
    unencrypted: unencryptedColumns(installation),
    unmapped: read.unmapped,
    keys: read.keys.map((key) => ({ ...plain(key), history: read.tally.history(key.id) })),
    scopes: { sql: read.scopesSql, counts: plain(read.counted.scopes) },
    ...{ keks: read.keks, providers, access: read.access },
    policies: policyEvidence(installation, read.keys),
    due: plain(operatorTasks({ ...state, ...read.counted })),
    approvals: plain(state.approvals),
    audit: auditEvidence(installation, audit, { tally: read.tally, earlier }),
    backups: read.tally.backups,
    drills: read.tally.drills,
    ...{ notChecked: [], rules: [], violations: [] },
  } satisfies Record<keyof EvidenceReport, unknown> as EvidenceReport;
  const open = notChecked(report, read.unsearched);
  return judged({ ...report, notChecked: open }, rules);
}

async function stateToReport(installation: Installation): Promise<EncryptionState> {
  const state = await encryptionState(installation);
  if (state.missingTables.length > 0) throw tablesMissing(state.missingTables);
  if (installation.hasScopes) await installation.keys.scopeOperations.nameOwnBranches();
  return state;
}

type Read = Awaited<ReturnType<typeof readAll>>;

/** Reads all that is to be of one time. */
async function readAll(
  installation: Installation,
  runner: QueryRunner,
  { samples, expected }: { readonly samples: number; readonly expected: Expectation },
) {
  const keys = await keysOfAll(installation, runner);
  const tally = new AuditTally(keys.map(({ id }) => id));
  const counted = await countedRows(installation, keysOfRows(keys), runner);
  const reads = [];
  for (const column of tableColumns(installation)) {
    reads.push(await readSample(runner, column, samples));
  }
  const { notChecked: unsearched, ...unmapped } = await unmappedEvidence(
    installation,
    runner,
    keys,
  );
  return {
    ...{ keys, tally, counted, reads, unmapped, unsearched },
    database: await databaseEvidence(installation, runner),
    columns: await columnEvidence(installation, runner, { ...counted, keys }),
    keks: await kekEvidence(installation, runner),
    access: await accessEvidence(installation, runner),
    followed: await installation.audit.follow(expected, { connection: runner, note: tally.note }),
    scopesSql: installation.hasScopes ? scopeCounts(runner).getSql() : null,
  };
}

function keysOfRows(keys: readonly KeyInfo[]): KeyInfo[] {
  return keys.filter(({ purpose }) => purpose === 'data');
}

async function databaseEvidence(
  { dataSource }: Installation,
  runner: QueryRunner,
): Promise<DatabaseEvidence> {
  const { title, transactions } = dialectOf(dataSource);
  const { versionSql: sql } = catalogOf(runner);
  const [row] = (await runner.query(sql)) as { readonly version: string }[];
  const serverVersion = row?.version ?? 'unknown';
  return { name: title, serverVersion, sql, snapshot: [...transactions.snapshot] };
}

async function withSamples(
  installation: Installation,
  { columns, reads }: Read,
): Promise<EvidenceReport['columns']> {
  const sampled: EvidenceReport['columns'][number][] = [];
  for (const [at, read] of reads.entries()) {
    const column = columns[at];
    if (column === undefined) continue;
    sampled.push({ ...column, sample: await sampleEvidence(installation, read) });
  }
  return sampled;
}

/** Counts without these tables would read as complete. */
function tablesMissing(tables: readonly string[]): ConfigurationError {
  return new ConfigurationError(
    `report: ${tables.join(', ')} missing in the database. Run your migrations first.`,
  );
}
