import { randomBytes } from 'node:crypto';

import type { AuditEntry, AuditEvent, AuditOutcome } from '../audit/audit-entry';
import { everyEntry } from '../audit/every-entry';
import type { ListEntries } from '../audit/every-entry';
import { ConfigurationError, KeyStateError, UnsupportedValueError } from '../errors';
import { provenEntry } from '../keys/audit/proven-entry';
import type { Installation } from '../typeorm/installation/installation';

/** What is compromised: a key of the key table, all that a KEK wraps, or a branch with the keys of scopes under it. */
export type IncidentKind = 'key' | 'kek' | 'branch';

/** The steps, in their order. */
export const STEPS = ['replace', 'reencrypt', 'verify', 'destroy', 'close'] as const;
export type IncidentStep = (typeof STEPS)[number];

/** What an entry of the audit log says about an incident: it begins with its kind, and names keys and dependants. */
type Subject = IncidentKind | IncidentStep | 'risk' | 'lead' | 'dependant';
type Change = Pick<AuditEvent, 'outcome' | 'counts'> & { readonly kek?: string };

/** An incident as the audit log tells it. */
export interface Incident {
  readonly id: string;
  readonly kind: IncidentKind;
  readonly reason: string;
  /** Its entries, the opening one first. */
  readonly entries: readonly AuditEntry[];
  /** Why it is not to be trusted; `null` where its entries are proven and complete. */
  readonly fault: KeyStateError | null;
}

/**
 * The incidents in the audit log, which has all of their state: each entry that counts is sealed, so that nobody makes a
 * step look done who can only write to the database.
 */
export class IncidentLog {
  readonly #installation: Installation;

  /** @throws {@link ConfigurationError} where nothing is recorded */
  constructor(installation: Installation) {
    this.#installation = installation;
    if (installation.options.audit !== false) return;
    throw new ConfigurationError(
      'incident: the state of an incident is in the audit log, which is off. Leave the option `audit: false` out.',
    );
  }

  /** Returns the incidents, the oldest first, also those that are not to be trusted. */
  async list(): Promise<Incident[]> {
    const { audit } = this.#installation;
    const findSeal = audit.key.finder();
    const found = new Map<string, { entries: AuditEntry[]; fault: KeyStateError | null }>();
    const list: ListEntries = (range) => audit.list(range);
    for await (const entry of everyEntry(list, { operation: 'incident' })) {
      const id = entry.keyId;
      // An attempt that was refused.
      if (id === null || id !== entry.reference) continue;
      const incident = found.get(id) ?? { entries: [], fault: null };
      found.set(id, incident);
      const isProven = (await provenEntry([entry], findSeal)) !== null;
      if (isProven) incident.entries.push(entry);
      else incident.fault ??= forged(entry);
    }
    return [...found].map(([id, { entries, fault }]) => {
      const { keyName: reason, keyPurpose: kind } = entries[0] ?? { keyName: '', keyPurpose: null };
      const incident = { id, kind: kind as IncidentKind, reason: reason ?? '', entries };
      return { ...incident, fault: fault ?? (isComplete(incident) ? null : incomplete(id)) };
    });
  }

  /** @throws {@link UnsupportedValueError} for an unknown id, {@link KeyStateError} for one that is not to be trusted */
  async find(id: string): Promise<Incident> {
    const found = (await this.list()).find((incident) => incident.id === id);
    if (found?.fault) throw found.fault;
    if (found !== undefined) return found;
    const shown = /^[0-9a-f]{16}$/.test(id)
      ? ` ${id}`
      : ' with this id: it is 16 hexadecimal digits';
    throw new UnsupportedValueError(
      `There is no incident${shown}. See: field-encryption incident status`,
    );
  }

  /** Opens an incident: its kind and reason, what is at risk, and who depends on it, or nothing of that. */
  async open(
    { kind, reason, kek }: { kind: IncidentKind; reason: string; kek?: string | undefined },
    counts: Readonly<Record<string, number>>,
    parts: readonly { subject: 'risk' | 'dependant'; name: string; rows?: number }[],
  ): Promise<string> {
    const id = randomBytes(8).toString('hex');
    const begun = { outcome: 'started', counts, ...(kek === undefined ? {} : { kek }) } as const;
    await this.#installation.audit.record(
      eventOf(id, kind, reason, begun),
      ...parts.map(({ subject, name, rows }) =>
        eventOf(id, subject, name, {
          outcome: 'started',
          counts: rows === undefined ? {} : { rows },
        }),
      ),
    );
    this.#tell(id, kind, reason, 'started');
    return id;
  }

  /** Records what became of an incident, and tells those who listen. */
  async note(id: string, subject: Subject, name: string, change: Change): Promise<void> {
    await this.#installation.audit.record(eventOf(id, subject, name, change));
    this.#tell(id, subject, name, change.outcome);
  }

  #tell(incident: string, subject: Subject, name: string, outcome: AuditOutcome): void {
    this.#installation.keys.tell({ type: 'incident', incident, subject, name, outcome });
  }
}

/** Returns the entry that says that a step is done, for a key or for all. */
export function doneEntry(
  { entries }: Incident,
  step: IncidentStep | 'dependant',
  name = '',
): AuditEntry | undefined {
  return entries.find((entry) => isAbout(entry, step, name) && entry.outcome === 'done');
}

/** Whether an entry of an incident is about a key, a dependant or, without a name, a step as a whole. */
export function isAbout(
  { keyName, keyPurpose }: AuditEntry,
  subject: Subject,
  name: string,
): boolean {
  return keyPurpose === subject && keyName === name;
}

/** Returns the names of a kind that an incident began with: ids of keys at risk, or dependants. */
export function namesOf(
  { entries }: Pick<Incident, 'entries'>,
  subject: 'risk' | 'dependant',
): string[] {
  return entries.flatMap(({ keyName, keyPurpose, outcome }) =>
    keyPurpose === subject && outcome === 'started' && keyName !== null ? [keyName] : [],
  );
}

/** Returns the last entry that says why a step stopped, unless a step was done since. */
export function stopEntry({ entries }: Incident): AuditEntry | undefined {
  const isStep = ({ keyPurpose, keyName, outcome }: AuditEntry): boolean =>
    STEPS.some((step) => step === keyPurpose) && (outcome !== 'done' || keyName === '');
  const last = entries.findLast(isStep);
  return last?.outcome === 'done' ? undefined : last;
}

/** Whether an incident has all entries that it began with: a key or a dependant without one would be left alone. */
function isComplete(incident: Pick<Incident, 'entries'>): boolean {
  const { keys, dependants } = incident.entries[0]?.counts ?? {};
  return (
    namesOf(incident, 'risk').length === keys &&
    namesOf(incident, 'dependant').length === dependants
  );
}

function eventOf(
  id: string,
  purpose: Subject,
  name: string,
  { kek, ...change }: Change,
): AuditEvent {
  const mark = { id, name, purpose, ...(kek === undefined ? {} : { kek }) };
  return { operation: 'incident', reference: id, mark, ...change };
}

function forged({ seq }: AuditEntry): KeyStateError {
  return new KeyStateError(
    `incident: nothing proves entry ${String(seq)} of the audit log, so that nobody can tell by it which steps are done. ` +
      'Run `field-encryption audit verify`, find out who writes to the table, and start another incident about the same.',
  );
}

function incomplete(id: string): KeyStateError {
  return new KeyStateError(
    `incident: entries of the audit log are missing with which ${id} began, so that nobody can tell what is at risk. ` +
      'Run `field-encryption audit verify`, find out who writes to the table, and start another incident about the same.',
  );
}
