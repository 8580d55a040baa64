import {
  IsIn,
  IsInstance,
  IsInt,
  IsObject,
  IsOptional,
  IsString,
  Length,
  Matches,
  Max,
  Min,
} from 'class-validator';

import { inOneLine } from './audit/audit-entry';
import type { DataKeys } from './data-keys';
import { KeyStateError, UnsupportedValueError } from './errors';
import { drillIncident } from './incident/drill';
import type { IncidentDrill } from './incident/drill';
import { doneEntry, IncidentLog, namesOf } from './incident/incident-log';
import type { IncidentKind } from './incident/incident-log';
import { incidentReport, writeIncident } from './incident/incident-report';
import type { IncidentReport } from './incident/incident-report';
import { leading, OPENING, respond } from './incident/respond';
import { exposure, keysAtRisk, requireOtherKek } from './incident/risk';
import type { Exposure, IncidentParts, KeysAtRisk } from './incident/risk';
import type { IncidentOptions, IncidentWait } from './incident/response';
import { endOfWait } from './keys/store/watched-key-store';
import { requireOptions } from './typeorm/declare/option-rules';
import type { Installation } from './typeorm/installation/installation';

/** What is compromised, and why that is thought. */
export interface IncidentTarget {
  readonly kind: IncidentKind;
  /** Id of the key; the KEK as `keys list` shows it, alone or as `<kms>/<kek>`; or the name of the branch key. */
  readonly target: string;
  /** 1 to 64 characters, without personal data. */
  readonly reason: string;
  /** Milliseconds for which the destruction waits for dependants that have not acknowledged. Defaults to 7 days. */
  readonly acknowledgeMs?: number;
}

/** An incident after a call. */
export interface IncidentProgress {
  readonly incident: IncidentReport;
  /** What it waits for; `null` once it is closed. */
  readonly wait: IncidentWait | null;
}

const WEEK_MS = 604_800_000;

const REASON = { message: 'reason must be 1 to 64 characters, and not blank' };

class TargetRules {
  @IsIn(['key', 'kek', 'branch']) kind?: unknown;
  @IsString() @Length(1, 600) target?: unknown;
  // By code points, as databases count them.
  @IsString() @Matches(/^(?=.*\S).{1,64}$/su, REASON) reason?: unknown;
  @IsOptional() @IsInt() @Min(0) @Max(2 ** 40) acknowledgeMs?: unknown;
}

class WorkRules {
  @IsOptional() @IsInt() @Min(0) graceMs?: unknown;
  @IsOptional() @IsInt() @Min(0) announceMs?: unknown;
  @IsOptional() @IsInstance(Function) confirm?: unknown;
  @IsOptional() @IsInstance(Function) onProgress?: unknown;
  @IsOptional() @IsObject() signal?: unknown;
}

/** The response to compromised keys: guided, resumed after any end of a process, and recorded in the audit log. */
export class Incidents {
  readonly #parts: IncidentParts;

  /** @internal */
  constructor(installation: Installation, keys: DataKeys) {
    this.#parts = { installation, keys };
  }

  /**
   * Opens an incident and goes on with it as {@link Incidents.resume} does: replaces what is compromised, moves the rows,
   * verifies them, destroys the keys by their policy, and closes.
   *
   * @throws {@link KeyNotFoundError}; {@link KeyStateError} for a key that is destroyed, or that an open incident is
   * about; {@link ConfigurationError} for wrong options, without an audit log, and while the compromised KEK would wrap
   * new keys; {@link IncidentLedError} while another process leads, and whatever a step fails with
   */
  start(target: IncidentTarget, options: IncidentOptions = {}): Promise<IncidentProgress> {
    return this.#managed(async (log) => {
      const own = { ...target };
      requireOptions('incident', WorkRules, options);
      const exposed = await exposure(this.#parts, await this.#keysAtRisk(own));
      const id = await leading({ ...this.#parts, log }, OPENING, () =>
        this.#open(log, own, exposed),
      );
      return this.#lead(log, id, options);
    });
  }

  /**
   * Goes on with an incident where it stopped. What is done is not done again.
   *
   * @throws {@link UnsupportedValueError} for an unknown id, and what {@link Incidents.start} throws
   */
  resume(id: string, options: IncidentOptions = {}): Promise<IncidentProgress> {
    return this.#managed(async (log) => {
      requireOptions('incident', WorkRules, options);
      const incident = await log.find(id);
      if (doneEntry(incident, 'close') !== undefined) return this.#progress(log, id, null);
      return this.#lead(log, id, options);
    });
  }

  /** Does what can be done on a copy in memory, writes nothing, and says how long the rest would take. */
  drill(target: IncidentTarget): Promise<IncidentDrill> {
    return this.#managed(async () =>
      drillIncident(this.#parts, (await this.#keysAtRisk({ ...target })).keys),
    );
  }

  /** Returns the incidents, the oldest first: all, or the one with this id. */
  async status(id?: string): Promise<IncidentReport[]> {
    const log = new IncidentLog(this.#parts.installation);
    const incidents = id === undefined ? await log.list() : [await log.find(id)];
    const reports: IncidentReport[] = [];
    for (const each of incidents) reports.push(await incidentReport(this.#parts, each));
    return reports;
  }

  /**
   * Writes the report of an incident to a folder, as JSON, Markdown and HTML, with a signed note about them as that of
   * {@link FieldEncryption.writeEvidence}. Returns the paths, that of the note last.
   */
  async report(id: string, folder: string): Promise<string[]> {
    const incident = await new IncidentLog(this.#parts.installation).find(id);
    return writeIncident(this.#parts, incident, folder);
  }

  /**
   * Records that a dependant has done its part, so that the destruction of the keys no longer waits for it.
   *
   * @throws {@link UnsupportedValueError} for an incident or a dependant that is not known
   */
  acknowledge(id: string, as: string): Promise<void> {
    return this.#parts.installation.access.run('acknowledge', async () => {
      const log = new IncidentLog(this.#parts.installation);
      const incident = await log.find(id);
      const names = namesOf(incident, 'dependant');
      if (!names.includes(as)) throw unknownDependant(names);
      if (doneEntry(incident, 'dependant', as) !== undefined) return;
      await log.note(id, 'dependant', as, { outcome: 'done' });
    });
  }

  #managed<T>(work: (log: IncidentLog) => Promise<T>): Promise<T> {
    const { installation } = this.#parts;
    return installation.access.run('incident', () => work(new IncidentLog(installation)));
  }

  async #keysAtRisk(given: IncidentTarget): Promise<KeysAtRisk> {
    requireOptions('incident', TargetRules, given);
    const { kind, target } = given;
    const found = await keysAtRisk(this.#parts, kind, target);
    if (kind === 'kek') await requireOtherKek(this.#parts, target, found.keys);
    return found;
  }

  async #open(
    log: IncidentLog,
    { kind, target, reason, acknowledgeMs: waitMs = WEEK_MS }: IncidentTarget,
    { counts, risk }: Exposure,
  ): Promise<string> {
    const ids = risk.map(({ name }) => name);
    const open = (await log.list()).find(
      (each) =>
        // One that is not to be trusted cannot be resumed, and must not be in the way.
        each.fault === null &&
        doneEntry(each, 'close') === undefined &&
        ids.every((id) => namesOf(each, 'risk').includes(id)),
    );
    if (open !== undefined) throw isOpen(open.id);
    const now = await this.#parts.installation.store.now();
    const kek = kind === 'kek' ? target : undefined;
    const { dependants = [] } = this.#parts.installation.options;
    return log.open(
      { kind, reason: inOneLine(reason), kek },
      {
        ...{ ...counts, dependants: dependants.length, waitMs },
        // By the clock of the database.
        waitUntil: endOfWait(now, waitMs).getTime(),
      },
      [
        ...risk.map((each) => ({ subject: 'risk', ...each }) as const),
        ...dependants.map((name) => ({ subject: 'dependant', name }) as const),
      ],
    );
  }

  async #lead(log: IncidentLog, id: string, options: IncidentOptions): Promise<IncidentProgress> {
    const wait = await leading({ ...this.#parts, log }, id, (lead) =>
      respond({ ...this.#parts, log, id, options }, lead),
    );
    return this.#progress(log, id, wait);
  }

  async #progress(
    log: IncidentLog,
    id: string,
    wait: IncidentWait | null,
  ): Promise<IncidentProgress> {
    return { incident: await incidentReport(this.#parts, await log.find(id)), wait };
  }
}

function isOpen(id: string): KeyStateError {
  return new KeyStateError(
    `incident: ${id} is open, and about the same keys. Go on with it: field-encryption incident resume ${id}`,
  );
}

function unknownDependant(names: readonly string[]): UnsupportedValueError {
  return new UnsupportedValueError(
    `incident: the name must be one of the option dependants when the incident was opened: ${names.join(', ') || 'there were none'}.`,
  );
}
