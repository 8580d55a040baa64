import {
  BrokenCircuitError,
  circuitBreaker,
  ConsecutiveBreaker,
  handleType,
  TaskCancelledError,
  timeout,
  TimeoutStrategy,
  wrap,
} from 'cockatiel';
import type { IPolicy } from 'cockatiel';

import type { KmsProvider, WrappedKey } from '../../kms/kms-provider';

import { KmsClient } from './kms-client';
import type { BoundFields, UnwrappableRecord } from './kms-client';
import { askingOwnKms } from './own-kms-refusals';

/** How many times as long as a caller that holds a connection any other waits. */
const WAITS = 5;
/** For how many times as long a KMS that gave no answer is left alone. */
const RESTS = 20;

/**
 * The KMS of a scope, which holds up nobody else: a request that it does not answer in time is given up, and for a
 * while after that, others fail at once.
 */
export class OwnKmsClient extends KmsClient {
  readonly #patience: IPolicy;

  /**
   * @param source - what the keys belong to, for the messages about calls.
   * @param heldWaitMs - milliseconds for which a caller that holds a connection waits.
   */
  constructor(
    kms: KmsProvider,
    application: string,
    { source, heldWaitMs }: { readonly source: object; readonly heldWaitMs: number },
  ) {
    super(kms, application, source);
    this.#patience = wrap(
      circuitBreaker(handleType(TaskCancelledError), {
        halfOpenAfter: RESTS * heldWaitMs,
        breaker: new ConsecutiveBreaker(1),
      }),
      timeout(WAITS * heldWaitMs, TimeoutStrategy.Aggressive),
    );
  }

  override wrap(key: BoundFields, bytes: Uint8Array): Promise<WrappedKey> {
    return askingOwnKms(() => super.wrap(key, bytes));
  }

  override unwrap(record: UnwrappableRecord): Promise<Uint8Array> {
    return askingOwnKms(() => super.unwrap(record));
  }

  protected override async request<T>(call: () => Promise<T>): Promise<T> {
    try {
      // A signal that all requests share would have too many listeners.
      return await this.#patience.execute(call, new AbortController().signal);
    } catch (error) {
      if (!(error instanceof TaskCancelledError || error instanceof BrokenCircuitError))
        throw error;
      throw new Error('it gave no answer in time', { cause: error });
    }
  }
}
