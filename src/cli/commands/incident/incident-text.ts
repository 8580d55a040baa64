import { counted, grouped } from '../../../doctor/finding';
import type { IncidentDrill } from '../../../incident/drill';
import type { IncidentReport } from '../../../incident/incident-report';
import type { WaitCause } from '../../../incident/response';
import { table } from '../../terminal/table';

/** What a step waits for, in the status. */
const CAUSE_TEXTS: Readonly<Record<WaitCause, string>> = {
  announcement: 'for every process to load the new root of the blind indexes',
  rows: 'for rows that do not read, or could not be moved: see `data verify`',
  scopes: 'for keys of scopes that could not be replaced',
  approval: 'for signatures: see `approvals list`',
  dependants: 'for dependants to acknowledge',
  grace: 'since a process may have a key in memory',
  retention: 'since the policy of a key keeps it',
  keys: 'for another operation on keys',
  confirmation: 'since it was not confirmed',
  resumption: 'to be resumed',
};

/** Describes the state of an incident. */
export function statusText(report: IncidentReport): string {
  const progress = report.closed === null ? 'open' : `closed ${report.closed}`;
  const state = report.fault === null ? progress : 'not to be trusted';
  const cells = [report.replaced, report.moved].map((time) => time ?? 'not yet');
  return [
    `Incident ${report.id} (${state}): "${report.reason}", opened ${report.detected} by ${report.actor}.`,
    `Replaced: ${cells.join('. Rows moved: ')}.`,
    ...(report.fault === null ? stopLines(report) : [report.fault]),
    table(
      ['KEY', 'VERSION', 'ID', 'STATE', 'VALUES THEN'],
      report.keys.map((key) => [
        nameOf(key),
        String(key.version),
        key.id,
        key.state,
        grouped(key.rows),
      ]),
    ),
    ...report.dependants.map(
      ({ name, acknowledged }) =>
        `${name}: ${acknowledged === null ? 'not acknowledged' : `acknowledged ${acknowledged}`}`,
    ),
  ].join('\n');
}

/** Names a key as `keys list` does, which tells the roots of the blind indexes from data keys. */
function nameOf({ name, purpose }: IncidentReport['keys'][number]): string {
  if (purpose === 'index') return 'index';
  return purpose === 'signing' ? `${name} (signing)` : name;
}

function stopLines({ stopped }: IncidentReport): string[] {
  if (stopped === null) return [];
  const { step, cause, until } = stopped;
  const time = until === null ? '' : `, until ${until}`;
  const isWait = (name: string): name is WaitCause => Object.hasOwn(CAUSE_TEXTS, name);
  return [
    isWait(cause)
      ? `It waits in "${step}" ${CAUSE_TEXTS[cause]}${time}.`
      : `It failed in "${step}"${cause === '' ? '' : `: ${cause}`}.`,
  ];
}

/** Describes what a drill found out. */
export function drillText(tried: IncidentDrill): string {
  const lines = tried.rows.map(
    ({ entity, property, rows }) => `  ${entity}.${property}: ${grouped(rows)}`,
  );
  const { estimatedSeconds: seconds, unreadable } = tried;
  const time =
    seconds === null
      ? 'how long that takes cannot be tried'
      : `in about ${grouped(seconds)} s with one worker (by ${grouped(tried.tried)} samples)`;
  return [
    `${counted(tried.keys.length, 'key')} would be replaced, and these values moved; ${time}:`,
    ...lines,
    ...(unreadable === 0
      ? []
      : [`${counted(unreadable, 'sampled value')} cannot be read: see \`data verify\`.`]),
    `The keys could be destroyed ${grouped(tried.graceSeconds)} s later. Nothing was written.`,
  ].join('\n');
}
