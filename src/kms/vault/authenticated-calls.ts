import type { RemoteCalls } from '../remote/remote-calls';

import { VaultRefusal } from './refusals';
import type { CallOptions } from './vault-client';
import type { VaultSession } from './vault-session';

/** Calls to Vault with the token of a session. */
export class AuthenticatedCalls {
  readonly #calls: RemoteCalls;
  readonly #session: VaultSession;

  constructor(calls: RemoteCalls, session: VaultSession) {
    this.#calls = calls;
    this.#session = session;
  }

  /**
   * Makes a call with a token, and once more with another one if the first is denied.
   *
   * @param explainRefusal - makes the error to throw instead of a refusal
   * @throws {@link KmsUnavailableError} when tries or time run out
   */
  async run(
    call: (options: CallOptions) => Promise<unknown>,
    explainRefusal: (refusal: VaultRefusal) => Error,
  ): Promise<unknown> {
    try {
      return await this.#calls.within(async (budget) => {
        const withToken = (token: string): Promise<unknown> =>
          this.#calls.retrying(budget, (signal) => call({ token, signal }));
        const token = await this.#session.token();
        try {
          return await withToken(token);
        } catch (error) {
          const another = isDenied(error) ? await this.#session.tokenAfter(token) : undefined;
          if (another === undefined) throw error;
          return await withToken(another);
        }
      });
    } catch (error) {
      throw error instanceof VaultRefusal ? explainRefusal(error) : error;
    }
  }
}

function isDenied(error: unknown): boolean {
  return error instanceof VaultRefusal && (error.status === 403 || error.status === 401);
}
