import type { AuditEvent } from '../audit/audit-entry';

import { currentActor, runAs } from '../audit/actor';
import type { Actor } from '../audit/actor';

/** Milliseconds in which equal attempts are counted together. */
const MERGE_MS = 60_000;
/** The most kinds of attempts that are counted apart. */
const CAPACITY = 1_000;

/** Attempts that are alike, since one of them was recorded. */
interface Counted {
  readonly event: AuditEvent;
  readonly actor: Actor | undefined;
  attempts: number;
}

/**
 * Records attempts that came to nothing: the first of a kind at once, and how many were like it at the end of the
 * minute, so that nobody fills the audit log.
 */
export class MergedAttempts {
  readonly #record: (event: AuditEvent) => Promise<void>;
  readonly #counted = new Map<string, Counted>();
  #timer: NodeJS.Timeout | undefined;

  constructor(record: (event: AuditEvent) => Promise<void>) {
    this.#record = record;
  }

  async note(event: AuditEvent): Promise<void> {
    const actor = currentActor();
    const kind = JSON.stringify([actor?.id, event.operation, event.outcome, event.reference]);
    const counted = this.#counted.get(kind);
    if (counted !== undefined) {
      counted.attempts += 1;
      return;
    }
    if (this.#counted.size < CAPACITY) this.#counted.set(kind, { event, actor, attempts: 0 });
    this.#timer ??= setTimeout(() => void this.flush(), MERGE_MS).unref();
    await this.#record(event);
  }

  /** Records how many attempts were like those that were recorded. */
  async flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const counted = [...this.#counted.values()];
    this.#counted.clear();
    for (const { event, actor, attempts } of counted) {
      if (attempts === 0) continue;
      const record = (): Promise<void> => this.#record({ ...event, counts: { attempts } });
      await (actor === undefined ? record() : runAs(actor, record));
    }
  }
}
