import { ApprovalRequiredError, KeyStateError } from '../errors';
import type { KeyInfo } from '../keys/record/key-info';
import type { RunOptions } from '../reencryption/report/run-options';

import { namesOf } from './incident-log';
import type { Incident, IncidentLog, IncidentStep } from './incident-log';
import { provenKeys } from './logged-keys';
import { rowsAtRisk } from './risk';
import type { IncidentParts, RowsAtRisk } from './risk';

/** How an incident is worked on. */
export interface IncidentOptions extends Pick<RunOptions, 'signal' | 'onProgress'> {
  /** As for `keys.destroy`: 0 where no other process can have the keys in memory. */
  readonly graceMs?: number;
  /** As for `keys.rotateIndex`. */
  readonly announceMs?: number;
  /** Called before each step, which is not taken if it returns false. Defaults to taking all. */
  readonly confirm?: (step: PlannedStep) => boolean | Promise<boolean>;
}

/** A step that is about to be taken. */
export interface PlannedStep {
  readonly incident: string;
  readonly step: IncidentStep;
  readonly keys: readonly KeyInfo[];
  readonly rows: readonly RowsAtRisk[];
}

/**
 * What an incident waits for:
 * - `announcement`: every process has to load the new root of the blind indexes;
 * - `rows`: rows that do not read, or could not be moved;
 * - `scopes`: keys of scopes that could not be replaced;
 * - `approval`: signatures;
 * - `dependants`: their acknowledgements;
 * - `grace`: a process may have a key in memory;
 * - `retention`: the policy of a key keeps it for a time;
 * - `keys`: keys are still made under the compromised KEK, or by another operation at the moment;
 * - `confirmation`: somebody said no;
 * - `resumption`: it was interrupted.
 */
export type WaitCause =
  | 'announcement'
  | 'rows'
  | 'scopes'
  | 'approval'
  | 'dependants'
  | 'grace'
  | 'retention'
  | 'keys'
  | 'confirmation'
  | 'resumption';

/** Why an incident does not go on now. */
export interface IncidentWait {
  readonly step: IncidentStep;
  readonly cause: WaitCause;
  /** The same for people, with what to do. */
  readonly reason: string;
  /** When it can go on; `null` where that depends on people. */
  readonly until: Date | null;
}

/** The work on one incident. */
export interface Response extends IncidentParts {
  readonly log: IncidentLog;
  readonly id: string;
  readonly options: IncidentOptions;
}

/** What a step did. */
export type Counts = Readonly<Record<string, number>>;

/** A step has to wait. Never leaves this folder. */
export class WaitError extends Error {
  override readonly cause: WaitCause;
  readonly until: Date | null;

  constructor(cause: WaitCause, reason: string, until: Date | null = null) {
    super(reason);
    this.cause = cause;
    this.until = until;
  }
}

/**
 * Returns the keys at risk, in the order of work: an announced version must not take the place of a compromised one.
 *
 * @throws {@link KeyStateError} where the log does not prove what a row says
 */
export async function keysOf(
  { installation }: Pick<IncidentParts, 'installation'>,
  incident: Incident,
): Promise<KeyInfo[]> {
  const rank = ({ purpose, state }: KeyInfo): number =>
    state === 'preActive' ? 0 : purpose === 'index' ? 2 : 1;
  const keys = await provenKeys(installation, namesOf(incident, 'risk'));
  return keys.sort((a, b) => rank(a) - rank(b));
}

/** Returns what a run throws that was aborted. */
export function interrupted(): WaitError {
  return new WaitError('resumption', 'It was interrupted, and goes on where it stopped.');
}

/** Returns the rows at risk by some keys. */
export async function rowsOf(
  parts: IncidentParts,
  keys: readonly KeyInfo[],
): Promise<RowsAtRisk[]> {
  const rows: RowsAtRisk[] = [];
  for (const key of keys) rows.push(...(await rowsAtRisk(parts, key)));
  return rows;
}

/** Returns why a step has to wait by what it threw; undefined for a failure. */
export function waitOf(step: IncidentStep, error: unknown): IncidentWait | undefined {
  if (error instanceof WaitError) {
    const { cause, message: reason, until } = error;
    return { step, cause, reason, until };
  }
  const isForOthers = error instanceof KeyStateError && error.retryable;
  const cause = isForOthers ? 'keys' : error instanceof ApprovalRequiredError ? 'approval' : null;
  if (cause === null || !(error instanceof Error)) return undefined;
  return { step, cause, reason: error.message, until: null };
}
