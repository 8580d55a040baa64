import { AsyncLocalStorage } from 'node:async_hooks';

import { ConfigurationError } from '../../errors';
import { channels } from '../../telemetry/channels';

/** How long code inside a load waits for its end before the load counts as waiting for the code. */
const PATIENCE_MS = 2000;

/** A load of keys. */
interface Load {
  readonly ended: Promise<void>;
  isUnderWay: boolean;
  /** Whether it was found to wait for code that waits for it. */
  isStuck: boolean;
}

/**
 * A guard against code that runs inside a load of keys. A subscriber sees the statements that read them, and
 * if it uses encrypted entities it may need those very keys: it would wait for the load as the load waits for
 * it, or begin another one for ever.
 *
 * Whether the load does wait cannot be known beforehand: TypeORM does not in every driver, nor for a
 * subscriber that returns no promise. So the code waits for a moment to find out.
 */
export class ReentrancyGuard {
  readonly #inside = new AsyncLocalStorage<Load | undefined>();
  readonly #source: object;
  #underWay = 0;

  /** @param source - what the keys belong to, for the messages about loads. */
  constructor(source: object) {
    this.#source = source;
  }

  /** Whether the calling code runs inside a load. */
  get isInside(): boolean {
    return this.#underWay > 0 && this.#inside.getStore()?.isUnderWay === true;
  }

  /** Loads keys. */
  async run<T>(load: () => Promise<T>): Promise<T> {
    let end = (): void => undefined;
    const ended = new Promise<void>((resolve) => {
      end = resolve;
    });
    const running: Load = { ended, isUnderWay: true, isStuck: false };
    this.#underWay += 1;
    try {
      return await this.#inside.run(running, () =>
        channels.keyLoad.tracePromise(load, { source: this.#source }),
      );
    } finally {
      running.isUnderWay = false;
      end();
      this.#underWay -= 1;
      // While it is in use, Node.js 20 and 22 make every promise of the process dearer.
      if (this.#underWay === 0) this.#inside.disable();
    }
  }

  /**
   * Waits for the end of the load that the calling code runs inside.
   *
   * @throws {@link ConfigurationError} when that load waits for the code
   */
  async untilOutside(): Promise<void> {
    const load = this.#inside.getStore();
    if (load?.isUnderWay !== true) return;
    load.isStuck ||= !(await endsSoon(load));
    if (load.isStuck) throw waitsForItself();
  }

  /** Calls something that nobody waits for. */
  outside(call: () => void): void {
    if (this.isInside) this.#inside.run(undefined, call);
    else call();
  }
}

async function endsSoon({ ended }: Load): Promise<boolean> {
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
