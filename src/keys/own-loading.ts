import { AsyncLocalStorage } from 'node:async_hooks';
import { ConfigurationError } from '../errors';

/**
 * Knows whose code runs within the loading of keys. A subscriber is told of the statements that read
 * them, and what it does with encrypted entities may need those very keys: it would wait for the loading
 * as the loading waits for it, or begin another one for ever.
 */
export class OwnLoading {
  readonly #inside = new AsyncLocalStorage<{ isUnderWay: boolean }>();
  #underWay = 0;

  /** Whether the code that asks runs within a loading, which goes on only when it has ended. */
  get isInside(): boolean {
    return this.#underWay > 0 && this.#inside.getStore()?.isUnderWay === true;
  }

  /** Loads keys. */
  async run<T>(load: () => Promise<T>): Promise<T> {
    const loading = { isUnderWay: true };
    this.#underWay += 1;
    try {
      return await this.#inside.run(loading, load);
    } finally {
      loading.isUnderWay = false;
      this.#underWay -= 1;
      // While it is in use, Node.js 20 and 22 make every promise of the process dearer.
      if (this.#underWay === 0) this.#inside.disable();
    }
  }

  /** Calls what nobody waits for. */
  outside(call: () => void): void {
    if (this.isInside) this.#inside.run({ isUnderWay: false }, call);
    else call();
  }
}

/** The error of what would wait for itself. */
export function waitsForItself(): ConfigurationError {
  return new ConfigurationError(
    'an encrypted entity is used while the keys that this takes are being loaded, by something that the ' +
      'loading waits for: a subscriber to statements or transactions, an audit sink, a KMS provider. Have it ' +
      'leave out the statements of the key table and the audit log, or do its work later without being waited for.',
  );
}
