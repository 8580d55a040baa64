import { FieldEncryptionError } from '../../errors';
import type { KmsHealth } from '../kms-provider';
import type { RemoteCalls } from '../remote/remote-calls';
import type { KeyOperation, KeyPlace } from './replies';
import { dataOf } from './transit-key';
import type { VaultClient } from './vault-client';
import { VaultRefusal } from './vault-refusal';
import type { VaultSession } from './vault-session';

const PATH = 'sys/capabilities-self';
/** Capabilities that let a value be posted. */
const ENOUGH = ['update', 'root'];

/** What the policy of a token allows, as the server tells it whoever asks about its own token. */
export class TransitRights {
  readonly #client: VaultClient;
  readonly #calls: RemoteCalls;
  readonly #session: VaultSession;
  readonly #place: KeyPlace;
  /** A policy without the default one may forbid the question, and servers log each denial. */
  #isForbidden = false;

  constructor(client: VaultClient, calls: RemoteCalls, session: VaultSession, place: KeyPlace) {
    this.#client = client;
    this.#calls = calls;
    this.#session = session;
    this.#place = place;
  }

  /** Empty where the server does not say. */
  async ask(): Promise<Pick<KmsHealth, 'mayWrap' | 'mayUnwrap'>> {
    if (this.#isForbidden) return {};
    const paths = [this.#path('encrypt'), this.#path('decrypt')];
    try {
      // With the token in hand, and without another login where it is refused: nothing depends on it.
      const token = await this.#session.token();
      const reply = await this.#calls.run((signal) =>
        this.#client.write(PATH, { paths }, { token, signal }),
      );
      const [mayWrap, mayUnwrap] = paths.map((path) => allows(dataOf(reply)[path]));
      return { mayWrap, mayUnwrap };
    } catch (error) {
      if (error instanceof VaultRefusal) this.#isForbidden = true;
      else if (!(error instanceof FieldEncryptionError)) throw error;
      return {};
    }
  }

  #path(operation: KeyOperation): string {
    return `${this.#place.mount}/${operation}/${this.#place.key}`;
  }
}

function allows(capabilities: unknown): boolean | undefined {
  if (!Array.isArray(capabilities)) return undefined;
  return ENOUGH.some((capability) => capabilities.includes(capability));
}
