import { ConfigurationError, FieldEncryptionError } from '../../errors';
import type { KmsHealth } from '../kms-provider';
import type { RemoteCalls } from '../remote/remote-calls';

import { notVault } from './http-transport';
import { keyPath, softDeleted, VaultRefusal } from './refusals';
import type { KeyOperation, KeyPlace } from './refusals';
import type { VaultClient } from './vault-client';
import type { VaultSession } from './vault-session';

/** AEADs with keys of 256 bits; `xchacha20-poly1305` is OpenBao's. */
const KEY_TYPES = ['aes256-gcm96', 'chacha20-poly1305', 'xchacha20-poly1305'];

/** What Transit says of a key. */
export interface TransitKey {
  readonly type: string;
  readonly latestVersion: number;
  /** When the latest version was made, where Vault says so. */
  readonly createdAt: Date | undefined;
  readonly derived: boolean;
  readonly exportable: boolean;
  readonly backup: boolean;
  /** Put aside, which OpenBao can do. */
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

/** Vault gives the time of each version of a symmetric key in seconds. */
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

/** `data` of a reply. @throws {@link ConfigurationError} when there is none */
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
