import type { AuditEntry } from '../audit/audit-entry';
import { everyEntry } from '../audit/every-entry';
import { KeyStateError } from '../errors';
import { EvidenceFolder } from '../evidence/evidence-folder';
import { plain } from '../evidence/plain';
import { listed } from '../evidence/renderings/markup';
import { page, section } from '../evidence/renderings/page';
import { keyInfo } from '../keys/policy/key-policy';
import type { KeyInfo } from '../keys/record/key-info';

import { doneEntry, isAbout, namesOf, stopEntry } from './incident-log';
import type { Incident, IncidentKind } from './incident-log';
import type { IncidentParts } from './risk';
import { keysOf } from './response';

/** An incident as the audit log and the key table tell it. Dates are ISO 8601. */
export interface IncidentReport {
  readonly id: string;
  readonly kind: IncidentKind;
  /** The compromised KEK. */
  readonly kek: string | null;
  readonly reason: string;
  /** Who opened it. */
  readonly actor: string;
  /** When it was opened, when the keys were replaced, when the last row had moved, and when it was closed. */
  readonly detected: string;
  readonly replaced: string | null;
  readonly moved: string | null;
  readonly closed: string | null;
  /** Why it is not to be trusted: the log or the key table was edited past the library; `null` if not. */
  readonly fault: string | null;
  /** From the opening to each of them, in milliseconds. */
  readonly durations: Readonly<Record<'replaced' | 'moved' | 'closed', number | null>>;
  /** Why it stopped: what the step waits for (see {@link IncidentWait}), or the code of its failure; `null` if it did not. */
  readonly stopped: {
    readonly step: string;
    readonly cause: string;
    readonly until: string | null;
  } | null;
  /**
   * When it was opened: keys, rows under them, keys of scopes, backups of keys since, dependants, how long they are waited
   * for, and until when. `brokenLog` is 1 where all keys were taken for those of a KEK, for the log was broken.
   */
  readonly exposed: Readonly<Record<string, number>>;
  readonly keys: readonly {
    readonly id: string;
    readonly name: string;
    readonly purpose: string;
    readonly version: number;
    readonly state: string;
    /** Since when it protected data. */
    readonly since: string | null;
    /** Rows under it when the incident was opened. */
    readonly rows: number;
    readonly replaced: string | null;
    readonly destroyed: string | null;
  }[];
  readonly dependants: readonly {
    readonly name: string;
    readonly acknowledged: string | null;
    readonly actor: string | null;
  }[];
  /** The entries of the audit log about it, about its keys, and about runs over rows meanwhile. */
  readonly entries: readonly Pick<
    AuditEntry,
    | 'seq'
    | 'time'
    | 'actor'
    | 'operation'
    | 'outcome'
    | 'keyPurpose'
    | 'keyName'
    | 'keyId'
    | 'counts'
  >[];
  /** What no incident does. */
  readonly leftOut: readonly string[];
}

const LEFT_OUT = [
  'Copies of the database and backups of the keys, in which the values stay readable by who has the compromised keys.',
  'Values in other places than columns of the entities of this DataSource: those of value(purpose), and of other DataSources that share the keys. They are not counted, and not readable once the keys are destroyed.',
  'The key of the audit log, and keys of scopes for blind indexes, which nothing replaces yet.',
];

/** Describes an incident. */
export async function incidentReport(
  parts: IncidentParts,
  incident: Incident,
): Promise<IncidentReport> {
  const { id, kind, reason, entries } = incident;
  const [opening] = entries;
  const { fault, ...found } = await shownKeys(parts, incident);
  const keys = plain(found.keys);
  return {
    ...{
      id,
      kind,
      reason,
      kek: opening?.kek ?? null,
      actor: opening?.actor ?? '',
      fault,
      exposed: opening?.counts ?? {},
    },
    ...timesOf(incident),
    stopped: stopOf(incident),
    keys: keys.map(({ id: keyId, name, purpose, version, state, ...key }) => ({
      ...{ id: keyId, name, purpose, version, state, since: key.activatedAt },
      rows: entries.find((each) => isAbout(each, 'risk', keyId))?.counts['rows'] ?? 0,
      replaced: doneEntry(incident, 'replace', keyId)?.time ?? null,
      destroyed: key.destroyedAt,
    })),
    dependants: namesOf(incident, 'dependant').map((name) => {
      const entry = doneEntry(incident, 'dependant', name);
      return { name, acknowledged: entry?.time ?? null, actor: entry?.actor ?? null };
    }),
    entries: await entriesOf(parts, incident),
    leftOut: LEFT_OUT,
  };
}

/** Returns the keys as their rows show them, where nothing proves those. */
async function shownKeys(
  { installation }: IncidentParts,
  incident: Incident,
): Promise<{ readonly keys: readonly KeyInfo[]; readonly fault: string | null }> {
  try {
    const keys = await keysOf({ installation }, incident);
    return { keys, fault: incident.fault?.message ?? null };
  } catch (error) {
    if (!(error instanceof KeyStateError)) throw error;
    const { options, store } = installation;
    const records = await store.findByIds(namesOf(incident, 'risk'));
    const keys = records.map((record) => keyInfo(record, options.keyPolicies));
    return { keys, fault: error.message };
  }
}

function timesOf(
  incident: Incident,
): Pick<IncidentReport, 'detected' | 'replaced' | 'moved' | 'closed' | 'durations'> {
  const detected = incident.entries[0]?.time ?? '';
  const replaced = doneEntry(incident, 'replace')?.time ?? null;
  const moved = doneEntry(incident, 'reencrypt')?.time ?? null;
  const closed = doneEntry(incident, 'close')?.time ?? null;
  const ms = (time: string | null): number | null =>
    time === null ? null : Date.parse(time) - Date.parse(detected);
  const durations = { replaced: ms(replaced), moved: ms(moved), closed: ms(closed) };
  return { detected, replaced, moved, closed, durations };
}

function stopOf(incident: Incident): IncidentReport['stopped'] {
  const stop = stopEntry(incident);
  if (stop === undefined) return null;
  const { keyPurpose: step, keyName: cause, counts } = stop;
  const until = counts['until'] === undefined ? null : new Date(counts['until']).toISOString();
  return { step: step ?? '', cause: cause ?? '', until };
}

async function entriesOf(
  { installation: { audit } }: IncidentParts,
  incident: Incident,
): Promise<IncidentReport['entries']> {
  const ids = [incident.id, ...namesOf(incident, 'risk')];
  const last = doneEntry(incident, 'close')?.seq ?? Infinity;
  const after = (incident.entries[0]?.seq ?? 1) - 1;
  const found: IncidentReport['entries'][number][] = [];
  for await (const entry of everyEntry((range) => audit.list(range), { after })) {
    const { seq, time, actor, operation, outcome, keyPurpose, keyName, keyId, counts } = entry;
    if (seq > last) break;
    if (!ids.includes(keyId ?? '') && !operation.startsWith('data ')) continue;
    found.push({ seq, time, actor, operation, outcome, keyPurpose, keyName, keyId, counts });
  }
  return found;
}

/** Writes the report, and a signed note about its files. Returns their paths, that of the note last. */
export async function writeIncident(
  parts: IncidentParts,
  incident: Incident,
  folder: string,
): Promise<string[]> {
  const { installation } = parts;
  const report = await incidentReport(parts, incident);
  const files = {
    'incident.json': [`${JSON.stringify(report, null, 2)}\n`],
    'incident.md': [markdown(report)],
    'incident.html': [html(report)],
  };
  const { report: log } = await installation.audit.verify();
  const written = await EvidenceFolder.at(folder, Object.keys(files));
  const about = { log, time: new Date().toISOString() };
  return written.replace(installation, Object.entries(files), about);
}

/** The parts of the report that are tables, with what they show of each row. */
function tablesOf(report: IncidentReport): [string, readonly object[]][] {
  const { reason, kind, kek, actor, fault, detected, replaced, moved, closed, durations } = report;
  return [
    ['Incident', [{ reason, kind, kek, 'opened by': actor, fault }]],
    ['Time line', [{ detected, replaced, moved, closed }]],
    ['Milliseconds since it was opened', [durations]],
    ['Exposed when it was opened', [report.exposed]],
    ['Keys', report.keys],
    ['Dependants', report.dependants],
    ['Audit log', report.entries],
    ['Not dealt with', report.leftOut.map((subject) => ({ subject }))],
  ];
}

function html(report: IncidentReport): string {
  const sections = tablesOf(report).map(([heading, rows]) =>
    section(heading, [listed(rows, ...(Object.keys(rows[0] ?? {}) as never[]))]),
  );
  return page(`Incident ${report.id}`, sections);
}

function markdown(report: IncidentReport): string {
  const sections = tablesOf(report).map(([heading, rows]) => {
    const names = Object.keys(rows[0] ?? {});
    const lines = [
      names,
      names.map(() => '---'),
      ...rows.map((row): unknown[] => Object.values(row)),
    ];
    const table = lines.map((cells) => `| ${cells.map(cellOf).join(' | ')} |`);
    return `## ${heading}\n\n${rows.length === 0 ? 'None.' : table.join('\n')}\n`;
  });
  return [`# Incident ${report.id}\n`, ...sections].join('\n');
}

/** Keeps what people wrote from being markup. */
function cellOf(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value ?? '–');
  return text.replace(/[&<>|`*_[\]\\#]/g, (character) => `&#${String(character.charCodeAt(0))};`);
}
