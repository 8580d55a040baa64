import { setTimeout } from 'node:timers/promises';

import { FieldEncryptionError } from '../../errors';
import type { KeyEventListener } from '../record/key-event';
import type { KeyRecord } from '../record/key-record';
import type { KeyStore } from './key-store';
import { settleAll } from '../../async/settle-all';

/** Counts what one data key has encrypted in this process and no table knows of yet. */
export interface UseCounter {
  /** Incremented for every value; everything else about counting happens elsewhere. */
  pending: number;
}

const FLUSH_AT_END_MS = 2000;

/**
 * How often each data key encrypted: counted exactly in memory, and added to the key table from time
 * to time, where the counts of all processes come together. A process that is killed takes what it
 * has not yet added with it.
 */
export class KeyUses<C> {
  readonly #store: Pick<KeyStore<C>, 'addUses'>;
  readonly #counters = new Map<string, UseCounter>();
  readonly #emit: KeyEventListener;
  #flushing: Promise<void> | undefined;
  #hasTold = false;

  constructor(store: Pick<KeyStore<C>, 'addUses'>, emit: KeyEventListener) {
    this.#store = store;
    this.#emit = emit;
  }

  /** The one counter of a key in this process, however often the key is unwrapped again. */
  counterOf(keyId: string): UseCounter {
    let counter = this.#counters.get(keyId);
    if (counter === undefined) {
      counter = { pending: 0 };
      this.#counters.set(keyId, counter);
    }
    return counter;
  }

  /** Records of the table, with what this process has not added yet. */
  counted(records: readonly KeyRecord[]): KeyRecord[] {
    return records.map((record) => {
      const pending = this.#counters.get(record.id)?.pending ?? 0;
      return { ...record, useCount: record.useCount + pending };
    });
  }

  /**
   * Adds to the table what was counted. Never rejects: a count is no reason to fail anything, and
   * what could not be added stays for the next time. Callers at once share one run.
   */
  flush(): Promise<void> {
    this.#flushing ??= this.#addAll().finally(() => {
      this.#flushing = undefined;
    });
    return this.#flushing;
  }

  /** {@link KeyUses.flush} for a process that is about to end, which a database that is away must not keep. */
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

  /** Where an outage hides whether it was added, it is added again: too many is the safe side. */
  async #add(keyId: string, counter: UseCounter): Promise<void> {
    const uses = counter.pending;
    try {
      await this.#store.addUses(keyId, uses);
    } catch (failure) {
      this.#tell(keyId, failure);
      throw failure;
    }
    this.#hasTold = false;
    counter.pending -= uses;
  }

  /** Not of what goes away by itself, such as a transaction on the only connection. */
  #tell(keyId: string, failure: unknown): void {
    const isTyped = failure instanceof FieldEncryptionError;
    if (this.#hasTold || (isTyped && failure.retryable)) return;
    this.#hasTold = true;
    const code = isTyped ? failure.code : undefined;
    this.#emit({ type: 'useCountFailed', keyId, code });
  }
}
