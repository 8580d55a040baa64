import { AsyncLocalStorage } from 'node:async_hooks';
import { ConfigurationError } from '../../errors';

/** How long code within a loading waits for it before the loading counts as waiting for the code. */
const PATIENCE_MS = 2000;

/** Keys that are being loaded. */
interface Loading {
  readonly ended: Promise<void>;
  isUnderWay: boolean;
  /** It was found to wait for code that waits for it. */
  isStuck: boolean;
}

/**
 * Knows whose code runs within the loading of keys. A subscriber is told of the statements that read
 * them, and what it does with encrypted entities may need those very keys: it would wait for the loading
 * as the loading waits for it, or begin another one for ever.
 *
 * Whether the loading does wait is not known: TypeORM does not in every driver, nor for a subscriber that
 * returns no promise. So the code waits for a moment, and then it is known.
 */
export class OwnLoading {
  readonly #inside = new AsyncLocalStorage<Loading | undefined>();
  #underWay = 0;

  /** Whether the code that asks runs within a loading. */
  get isInside(): boolean {
    return this.#underWay > 0 && this.#inside.getStore()?.isUnderWay === true;
  }

  /** Loads keys. */
  async run<T>(load: () => Promise<T>): Promise<T> {
    let end = (): void => undefined;
    const ended = new Promise<void>((resolve) => {
      end = resolve;
    });
    const loading: Loading = { ended, isUnderWay: true, isStuck: false };
    this.#underWay += 1;
    try {
      return await this.#inside.run(loading, load);
    } finally {
      loading.isUnderWay = false;
      end();
      this.#underWay -= 1;
      // While it is in use, Node.js 20 and 22 make every promise of the process dearer.
      if (this.#underWay === 0) this.#inside.disable();
    }
  }

  /**
   * Waits for the end of the loading that the code runs within.
   *
   * @throws {@link ConfigurationError} when that loading waits for the code
   */
  async untilOutside(): Promise<void> {
    const loading = this.#inside.getStore();
    if (loading?.isUnderWay !== true) return;
    loading.isStuck ||= !(await endsSoon(loading));
    if (loading.isStuck) throw waitsForItself();
  }

  /** Calls what nobody waits for. */
  outside(call: () => void): void {
    if (this.isInside) this.#inside.run(undefined, call);
    else call();
  }
}

async function endsSoon({ ended }: Loading): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const tooLate = new Promise<boolean>((resolve) => {
    timer = setTimeout(resolve, PATIENCE_MS, false);
  });
  try {
    return await Promise.race([ended.then(() => true), tooLate]);
  } finally {
    clearTimeout(timer);
  }
}

function waitsForItself(): ConfigurationError {
  return new ConfigurationError(
    'an encrypted entity is used while the keys that this takes are being loaded, by something that the ' +
      'loading waits for: a subscriber to statements or transactions, an audit sink, a KMS provider. Have it ' +
      'leave out the statements of the key table and the audit log, or do its work later without being waited for.',
  );
}
