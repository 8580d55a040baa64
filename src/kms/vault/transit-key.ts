import { ConfigurationError, FieldEncryptionError } from '../../errors';
import type { KmsHealth } from '../kms-provider';
import type { RemoteCalls } from '../remote/remote-calls';

import { notVault } from './http-transport';
import { keyPath, softDeleted, VaultRefusal } from './refusals';
import type { KeyOperation, KeyPlace } from './refusals';
import type { VaultClient } from './vault-client';
import type { VaultSession } from './vault-session';

/** AEADs with keys of 256 bits; only OpenBao has `xchacha20-poly1305`. */
const KEY_TYPES = ['aes256-gcm96', 'chacha20-poly1305', 'xchacha20-poly1305'];

/** Transit's description of a key. */
export interface TransitKey {
  readonly type: string;
  readonly latestVersion: number;
  /** When the latest version was made, if Vault says so. */
  readonly createdAt: Date | undefined;
  readonly derived: boolean;
  readonly exportable: boolean;
  readonly backup: boolean;
  /** Whether it is deleted but can be restored, a feature of OpenBao. */
  readonly softDeleted: boolean;
}

/** @throws {@link ConfigurationError} for an answer that is not the description of a key */
export function parseKey(reply: unknown): TransitKey {
  const data = dataOf(reply);
  const { type, latest_version: latestVersion } = data;
  if (typeof type !== 'string' || typeof latestVersion !== 'number') {
    throw notVault('does not describe a key');
  }
  return {
    type,
    latestVersion,
    createdAt: creationOf(data['keys'], latestVersion),
    derived: data['derived'] === true,
    exportable: data['exportable'] === true,
    backup: data['allow_plaintext_backup'] === true,
    softDeleted: data['soft_deleted'] === true,
  };
}

/** Reads the time of a version, which Vault returns in seconds for symmetric keys. */
function creationOf(versions: unknown, version: number): Date | undefined {
  const seconds: unknown = (versions as Record<string, unknown> | null | undefined)?.[version];
  return typeof seconds === 'number' ? new Date(seconds * 1000) : undefined;
}

/** @throws {@link ConfigurationError} for a key that must not wrap data keys */
export function requireAcceptable(key: TransitKey, place: KeyPlace): void {
  if (key.softDeleted) throw softDeleted(place);
  const problem = problemOf(key);
  if (problem === undefined) return;
  throw new ConfigurationError(
    `vaultKms: ${keyPath(place)} ${problem}. Make another one: ` +
      `vault write ${keyPath({ ...place, key: '<name>' })} type=aes256-gcm96`,
  );
}

function problemOf({ type, derived, exportable, backup }: TransitKey): string | undefined {
  if (!KEY_TYPES.includes(type))
    return `is of type ${safe(type)}, want one of ${KEY_TYPES.join(', ')}`;
  if (derived) return 'is derived, which takes a context with every call';
  if (exportable) return 'is exportable, so that the key can be taken out of Vault';
  return backup ? 'allows plaintext backups, so that the key can be taken out of Vault' : undefined;
}

/** Returns `data` of a reply. @throws {@link ConfigurationError} if there is none */
export function dataOf(reply: unknown): Record<string, unknown> {
  const data: unknown =
    typeof reply === 'object' && reply !== null && 'data' in reply ? reply.data : undefined;
  if (typeof data !== 'object' || data === null) throw notVault('has no data');
  return data as Record<string, unknown>;
}

function safe(type: string): string {
  return /^[\w-]{1,40}$/.test(type) ? type : 'unknown';
}

const PATH = 'sys/capabilities-self';
/** Capabilities that allow a POST. */
const ENOUGH = ['update', 'root'];

/** The rights of the token on the key, which the server reports to the token itself. */
export class TransitRights {
  readonly #client: VaultClient;
  readonly #calls: RemoteCalls;
  readonly #session: VaultSession;
  readonly #place: KeyPlace;
  /** Whether the policy forbids to ask, as without the default policy; servers log each denial. */
  #isForbidden = false;

  constructor(client: VaultClient, calls: RemoteCalls, session: VaultSession, place: KeyPlace) {
    this.#client = client;
    this.#calls = calls;
    this.#session = session;
    this.#place = place;
  }

  /** Asks for the rights; empty if the server does not say. */
  async ask(): Promise<Pick<KmsHealth, 'mayWrap' | 'mayUnwrap'>> {
    if (this.#isForbidden) return {};
    const paths = [this.#path('encrypt'), this.#path('decrypt')];
    try {
      // Without another login if the token is refused: nothing depends on the answer.
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
