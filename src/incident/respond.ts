import { setTimeout as sleep } from 'node:timers/promises';

import { inOneLine } from '../audit/audit-entry';
import { FieldEncryptionError } from '../errors';
import { Lead } from '../reencryption/lease/lead';
import type { LeadHolder } from '../reencryption/lease/lead';
import type { Installation } from '../typeorm/installation/installation';

import { closeIncident } from './close';
import { destroyAll } from './destroy';
import { doneEntry, STEPS, stopEntry } from './incident-log';
import { IncidentLedError } from './incident-led-error';
import type { Incident, IncidentStep } from './incident-log';
import { replaceAll } from './replace';
import { keysOf, rowsOf, WaitError, waitOf } from './response';
import type { Counts, IncidentWait, Response } from './response';
import { moveRows, verifyRows } from './rows';

/** Why a step stopped: what it waits for, or the code of its failure. */
interface Stop {
  readonly step: IncidentStep;
  readonly cause: string;
  readonly outcome: 'interrupted' | 'failed';
  readonly until: Date | undefined;
}

/** The column of names in the audit log holds so many. */
const MAX_NAME_CHARS = 64;
const OPENING_TRIES = 100;
const OPENING_POLL_MS = 100;

/** The lead of opening an incident, one at a time: no two are about the same key. */
export const OPENING = 'opening';

/** The steps; each looks at keys and rows, and does what is left to do. */
const WORK: Readonly<Record<IncidentStep, (response: Response) => Promise<Counts>>> = {
  replace: replaceAll,
  reencrypt: moveRows,
  verify: verifyRows,
  destroy: destroyAll,
  close: closeIncident,
};

/**
 * Runs work on an incident, or opens one, as the only leader, who is the process that works.
 *
 * @param subject - the id of the incident, or {@link OPENING}.
 * @throws {@link IncidentLedError} while another one is
 */
export async function leading<T>(
  { installation, log }: Pick<Response, 'installation' | 'log'>,
  subject: string,
  work: (lead: Lead) => Promise<T>,
): Promise<T> {
  const lead = await take(installation, subject);
  if (!(lead instanceof Lead)) {
    const led = (await log.list()).find(({ id }) => id === subject);
    const begun = led?.entries.findLast(({ keyPurpose }) => keyPurpose === 'lead');
    const process = lead.owner.replace(/:[^:]*$/, '');
    throw ledBy({ actor: begun?.actor ?? null, process, until: lead.until });
  }
  try {
    return await work(lead);
  } finally {
    await lead.end();
  }
}

/** An incident is led for long, but opened in a moment: who opens another one waits for that. */
async function take({ dataSource }: Installation, subject: string): Promise<Lead | LeadHolder> {
  for (let left = subject === OPENING ? OPENING_TRIES : 1; ; left -= 1) {
    const lead = await Lead.take(dataSource, 'incident', subject);
    if (lead instanceof Lead || left <= 1) return lead;
    await sleep(OPENING_POLL_MS);
  }
}

/** Takes the steps of an incident that are not done, up to one that has to wait. Returns `null` once it is closed. */
export async function respond(response: Response, lead: Lead): Promise<IncidentWait | null> {
  const { installation, log, id } = response;
  const actor = inOneLine(installation.audit.actor().slice(0, MAX_NAME_CHARS));
  await log.note(id, 'lead', actor, { outcome: 'started' });
  for (const step of STEPS) {
    const incident = await log.find(id);
    if (doneEntry(incident, step) !== undefined) continue;
    try {
      const isConfirmed = await confirmed(response, incident, step);
      if (!(await lead.holds())) throw lostLead();
      if (!isConfirmed) throw new WaitError('confirmation', 'It was not confirmed.');
      const counts = await WORK[step](response);
      await log.note(id, step, '', { outcome: 'done', counts });
    } catch (error) {
      if (error instanceof IncidentLedError) throw error;
      const wait = waitOf(step, error);
      const code = error instanceof FieldEncryptionError ? error.code : '';
      await noteStop(
        response,
        incident,
        wait === undefined
          ? { step, cause: code, outcome: 'failed', until: undefined }
          : { step, cause: wait.cause, outcome: 'interrupted', until: wait.until ?? undefined },
      );
      if (wait !== undefined) return wait;
      throw error;
    }
  }
  await lead.end(true);
  return null;
}

/** Records that a step stopped, unless that is known, for those who ask for the status. */
async function noteStop(
  { log, id }: Response,
  incident: Incident,
  { step, cause, outcome, until }: Stop,
): Promise<void> {
  const last = stopEntry(incident);
  const isSame = last?.keyPurpose === step && last.keyName === cause && last.outcome === outcome;
  if (isSame && last.counts['until'] === until?.getTime()) return;
  const counts = until === undefined ? {} : { until: until.getTime() };
  // Only what has happened: the failure itself may be of the log.
  await log.note(id, step, cause, { outcome, counts }).catch(() => undefined);
}

/** Counts what a step is about for the question alone: that reads whole tables. */
async function confirmed(
  response: Response,
  incident: Incident,
  step: IncidentStep,
): Promise<boolean> {
  const { confirm } = response.options;
  if (confirm === undefined) return true;
  const keys = await keysOf(response, incident);
  return confirm({ incident: incident.id, step, keys, rows: await rowsOf(response, keys) });
}

function ledBy(leader: Pick<IncidentLedError, 'actor' | 'process' | 'until'>): IncidentLedError {
  return new IncidentLedError(
    `incident: ${leader.actor ?? 'somebody'} leads it, in process ${leader.process}, until ` +
      `${leader.until.toISOString()} unless that is renewed. Watch it with \`field-encryption incident status\`.`,
    leader,
  );
}

function lostLead(): IncidentLedError {
  const nobody = { actor: null, process: 'another', until: new Date(0) };
  return new IncidentLedError(
    'incident: this process was stopped for so long that another may lead by now. Look at the status, and resume.',
    nobody,
  );
}
