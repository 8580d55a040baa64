import { currentActor, onBehalfOf } from '../audit/actor';
import type { Actor } from '../audit/actor';
import type { AuditEvent } from '../audit/audit-entry';

/** Milliseconds in which equal attempts are counted together. */
const MERGE_MS = 60_000;
/** The most kinds of attempts that are counted apart. */
const CAPACITY = 1_000;

/** Attempts that are alike. */
interface Counted {
  readonly event: AuditEvent;
  /** Undefined for work outside of `runAs`, and for attempts of many actors. */
  readonly actor: Actor | undefined;
  /** Those that are not recorded yet. */
  attempts: number;
  /** Whether one of them is recorded, so that the others can wait for the end of the minute. */
  isRecorded: boolean;
  recording: Promise<void> | undefined;
}

/**
 * Records attempts that did not succeed: the first of a kind at once, and how many were like it at the end of the
 * minute, so that nobody fills the audit log. What cannot be recorded is counted until it can be.
 */
export class MergedAttempts {
  readonly #record: (event: AuditEvent) => Promise<boolean>;
  readonly #kinds = new Map<string, Counted>();
  #timer: NodeJS.Timeout | undefined;

  /** @param record - returns whether the event was recorded. */
  constructor(record: (event: AuditEvent) => Promise<boolean>) {
    this.#record = record;
  }

  async note(event: AuditEvent): Promise<void> {
    const counted = this.#kindOf(event);
    counted.attempts += 1;
    this.#timer ??= setTimeout(() => void this.#flushAndGoOn(), MERGE_MS).unref();
    if (!counted.isRecorded) await record(counted, this.#record);
  }

  /** Records how many attempts were like those that were recorded. */
  async flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const [kind, counted] of [...this.#kinds]) {
      await counted.recording;
      if (counted.attempts > 0) await record(counted, this.#record);
      if (counted.attempts === 0) this.#kinds.delete(kind);
    }
  }

  async #flushAndGoOn(): Promise<void> {
    await this.flush();
    if (this.#kinds.size > 0) {
      this.#timer ??= setTimeout(() => void this.#flushAndGoOn(), MERGE_MS).unref();
    }
  }

  #kindOf(event: AuditEvent): Counted {
    const actor = currentActor();
    const { operation, outcome, reference, mark } = event;
    const kind = JSON.stringify([actor?.id, operation, outcome, reference, mark?.id]);
    const isOne = this.#kinds.has(kind) || this.#kinds.size < CAPACITY;
    const key = isOne ? kind : outcome;
    const known = this.#kinds.get(key);
    if (known !== undefined) return known;
    const counted = {
      ...(isOne ? { event, actor } : { event: manyKinds(event), actor: undefined }),
      ...{ attempts: 0, isRecorded: false, recording: undefined },
    };
    this.#kinds.set(key, counted);
    return counted;
  }
}

/** Records attempts; those that are made meanwhile are left to the next time. */
function record(counted: Counted, add: (event: AuditEvent) => Promise<boolean>): Promise<void> {
  const { event, actor, attempts, isRecorded } = counted;
  const isFirst = !isRecorded && attempts === 1;
  Object.assign(counted, { attempts: 0, isRecorded: true });
  const adding = onBehalfOf(actor, () => add(isFirst ? event : { ...event, counts: { attempts } }));
  counted.recording = adding.then((done) => {
    counted.recording = undefined;
    if (!done) Object.assign(counted, { attempts: counted.attempts + attempts, isRecorded });
  });
  return counted.recording;
}

/** The event that stands for all attempts beyond the capacity, of all actors and operations. */
function manyKinds({ outcome }: AuditEvent): AuditEvent {
  return { operation: 'attempts', outcome };
}
