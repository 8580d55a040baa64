import { isDeepStrictEqual } from 'node:util';

import type { Installation } from '../../typeorm/installation/installation';
import type { Mode } from '../modes/mode';
import type { TableWork } from '../plan/work-plan';
import type { RunOptions } from '../report/run-options';

/** The parts of a run that say what it does. */
interface RunParts {
  readonly installation: Installation;
  readonly mode: Mode;
  readonly options: RunOptions;
}

/** What is approved of a run in one table. */
interface ApprovedTable {
  readonly entity: string;
  readonly properties: readonly string[];
  /** Digest of its rows, and of those that are done first. */
  readonly rows: string;
}

/** What is approved of a run, beside what people read. */
interface ApprovedRun {
  readonly tables: readonly ApprovedTable[];
  readonly targetKey?: string;
}

/** Begins a run once others have approved it, where the policy asks for that. */
export function withApproval<T>(
  { installation, mode, options }: RunParts,
  works: readonly TableWork[],
  begin: () => Promise<T>,
): Promise<T> {
  const operation = `data ${mode.name}` as const;
  const { first, where, parameters, targetKey, restart } = options;
  const tables = works.map((work) => ({ ...tableOf(work) }));
  const rows = { first, where, parameters, scopes: options.scopes?.map(scopeOf) };
  const subject = {
    parameters: { ...rows, targetKey, restart: restart === true, tables },
  };
  return installation.approvals.gate.run(operation, subject, begin);
}

/**
 * Refuses work in a run that nobody approved, or that has ended: who writes to the database can make one up, make one
 * another, or begin it anew.
 *
 * @throws {@link ApprovalRequiredError}
 */
export async function requireApprovedRun(
  { installation, mode, options }: RunParts,
  id: string,
  work: TableWork,
): Promise<void> {
  const operation = `data ${mode.name}` as const;
  const { gate } = installation.approvals;
  const wanted = tableOf(work);
  await gate.requireBegun(
    operation,
    () => requestOf(installation, operation, id),
    (parameters) => {
      // What this library has written, and approvers have signed.
      const { tables, targetKey } = parameters as unknown as ApprovedRun;
      const isCovered = tables.some((each) => isDeepStrictEqual(each, wanted));
      return isCovered && targetKey === options.targetKey;
    },
  );
}

/** Returns the mark of the request that a run is under way by; undefined for one that nothing proves, or that has ended. */
async function requestOf(
  { approvals, audit }: Installation,
  operation: string,
  id: string,
): Promise<string | undefined> {
  const last = await audit.proven(await audit.referringTo(id));
  if (last?.operation !== operation || last.outcome !== 'started') return undefined;
  return (await approvals.gate.uses.hasNoted(id)) ? undefined : (last.keyId ?? undefined);
}

function tableOf({ table: { columns, metadata }, scope }: TableWork): ApprovedTable {
  const properties = columns.map(({ encrypted }) => encrypted.policy.property);
  return { entity: metadata.name, properties, rows: scope };
}

function scopeOf(ids: NonNullable<RunOptions['scopes']>[number]): string | Record<string, string> {
  if (typeof ids !== 'object') return String(ids);
  return Object.fromEntries(Object.entries(ids).map(([kind, id]) => [kind, String(id)]));
}
