import { FieldEncryptionError } from '../errors';
import { sha256Of } from '../evidence/evidence-note';
import { Lead } from '../reencryption/lease/lead';

import { destroyAll } from './destroy';
import { doneEntry, namesOf, STEPS } from './incident-log';
import { IncidentLedError } from './incident-led-error';
import type { Incident, IncidentStep } from './incident-log';
import { replaceAll } from './replace';
import { keysOf, rowsOf, waitOf } from './response';
import type { Counts, IncidentWait, Response } from './response';
import { moveRows, verifyRows } from './rows';

/** The steps; each looks at keys and rows, and does what is left to do. */
const WORK: Readonly<Record<IncidentStep, (response: Response) => Promise<Counts>>> = {
  replace: replaceAll,
  reencrypt: moveRows,
  verify: verifyRows,
  destroy: destroyAll,
  close: () => Promise.resolve({}),
};

/**
 * Runs work on the incident about some keys as its only leader, who is the process that works.
 *
 * @throws {@link IncidentLedError} while another one is
 */
export async function leading<T>(
  { installation, log }: Pick<Response, 'installation' | 'log'>,
  keyIds: readonly string[],
  work: (lead: Lead) => Promise<T>,
): Promise<T> {
  const scope = sha256Of([...keyIds].sort().join());
  const lead = await Lead.take(installation.dataSource, 'incident', scope);
  if (!(lead instanceof Lead)) {
    const led = (await log.list()).find((each) =>
      namesOf(each, 'risk').some((key) => keyIds.includes(key)),
    );
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

/** Takes the steps of an incident that are not done, up to one that has to wait. Returns `null` once it is closed. */
export async function respond(response: Response, lead: Lead): Promise<IncidentWait | null> {
  const { installation, log, id } = response;
  await log.note(id, 'lead', installation.audit.actor().slice(0, 64), { outcome: 'started' });
  for (const step of STEPS) {
    const incident = await log.find(id);
    if (doneEntry(incident, step) !== undefined) continue;
    if (!(await isConfirmed(response, incident, step))) {
      return { step, reason: 'It was not confirmed.', until: null };
    }
    if (!(await lead.holds())) throw lostLead();
    try {
      const counts = await WORK[step](response);
      await log.note(id, step, '', { outcome: 'done', counts });
    } catch (error) {
      const wait = waitOf(step, error);
      if (wait !== undefined) return wait;
      const code = error instanceof FieldEncryptionError ? error.code : '';
      // Only what has happened: the failure itself may be of the log.
      await log.note(id, step, code, { outcome: 'failed' }).catch(() => undefined);
      throw error;
    }
  }
  await lead.end(true);
  return null;
}

/** Counts what a step is about for the question alone: that reads whole tables. */
async function isConfirmed(
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
