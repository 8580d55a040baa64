import { setTimeout } from 'node:timers/promises';

import { settleAll } from '../../async/settle-all';
import { FieldEncryptionError } from '../../errors';
import type { KeyEventListener } from '../record/key-event';
import type { KeyRecord } from '../record/key-record';

import type { KeyStore } from './key-store';

/** A counter of the values that a data key has encrypted in this process and that no table has yet. */
export interface UseCounter {
  /** Incremented for every value. */
  pending: number;
}

const FLUSH_AT_END_MS = 2000;

/**
 * The numbers of values that data keys have encrypted: counted exactly in memory, and added to the key
 * table from time to time, where the counts of all processes meet. A process that is killed loses what it
 * has not added yet.
 */
export class KeyUses<C> {
  readonly #store: Pick<KeyStore<C>, 'addUses'>;
  readonly #counters = new Map<string, UseCounter>();
  readonly #emit: KeyEventListener;
  #flushing: Promise<void> | undefined;
  #isReported = false;

  constructor(store: Pick<KeyStore<C>, 'addUses'>, emit: KeyEventListener) {
    this.#store = store;
    this.#emit = emit;
  }

  /** Returns the one counter of a key in this process, however often the key is unwrapped. */
  counterOf(keyId: string): UseCounter {
    let counter = this.#counters.get(keyId);
    if (counter === undefined) {
      counter = { pending: 0 };
      this.#counters.set(keyId, counter);
    }
    return counter;
  }

  /** Adds to records what this process has not added to the table yet. */
  counted(records: readonly KeyRecord[]): KeyRecord[] {
    return records.map((record) => {
      const pending = this.#counters.get(record.id)?.pending ?? 0;
      return { ...record, useCount: record.useCount + pending };
    });
  }

  /**
   * Adds the counts to the table. Never rejects: a count is no reason to fail anything, and what could not
   * be added is kept for the next time. Concurrent callers share one run.
   */
  flush(): Promise<void> {
    this.#flushing ??= this.#addAll().finally(() => {
      this.#flushing = undefined;
    });
    return this.#flushing;
  }

  /** {@link KeyUses.flush} for a process that is about to end, and must not hang while the database is away. */
  async flushAtEnd(): Promise<void> {
    const timer = new AbortController();
    const { signal } = timer;
    const tooLong = setTimeout(FLUSH_AT_END_MS, undefined, { signal }).catch(() => undefined);
    await Promise.race([this.flush(), tooLong]);
    timer.abort();
  }

  async #addAll(): Promise<void> {
    const due = [...this.#counters].filter(([, { pending }]) => pending > 0);
    // One at a time: there may be one connection only.
    await settleAll(due, 1, ([keyId, counter]) => this.#add(keyId, counter)).catch(() => undefined);
  }

  /** If an outage hides whether a count was added, it is added again: too high is the safe side. */
  async #add(keyId: string, counter: UseCounter): Promise<void> {
    const uses = counter.pending;
    try {
      await this.#store.addUses(keyId, uses);
    } catch (failure) {
      this.#report(keyId, failure);
      throw failure;
    }
    this.#isReported = false;
    counter.pending -= uses;
  }

  /** Ignores failures that pass by themselves, such as a transaction on the only connection. */
  #report(keyId: string, failure: unknown): void {
    const isTyped = failure instanceof FieldEncryptionError;
    if (this.#isReported || (isTyped && failure.retryable)) return;
    this.#isReported = true;
    const code = isTyped ? failure.code : undefined;
    this.#emit({ type: 'useCountFailed', keyId, code });
  }
}
