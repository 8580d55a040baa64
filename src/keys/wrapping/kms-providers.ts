import { KeyUnwrapError, KmsUnavailableError } from '../../errors';
import type { KmsProvider } from '../../kms/kms-provider';
import type { KeyRecord } from '../record/key-record';
import { isOwnBranchName } from '../record/scope';

import { KmsClient } from './kms-client';
import { OwnKmsClient } from './own-kms-client';
import { ofOwnKms } from './own-kms-refusals';

/** A key that a provider unwrapped. The caller wipes the bytes. */
export interface OpenedKey {
  readonly bytes: Uint8Array;
  /** Whether it can only have been made with that provider. */
  readonly isAuthenticated: boolean;
}

interface KmsProvidersOptions {
  readonly application: string;
  /** What the keys belong to, for the messages about calls. */
  readonly source: object;
  /** The providers that only unwrap. */
  readonly others: readonly KmsProvider[];
  /** Milliseconds for which a caller that holds a connection waits. */
  readonly heldWaitMs: number;
}

/** The KMS providers of a process: one wraps new keys, all unwrap the keys they have wrapped. */
export class KmsProviders {
  readonly #application: string;
  readonly #source: object;
  readonly #heldWaitMs: number;
  #clients: readonly [KmsClient, ...KmsClient[]];
  /** Those that have wrapped the common keys in this process: the present one, and those before a rewrap. */
  readonly #common: Set<KmsProvider>;
  /** The clients of providers that are asked for branches of scopes, on behalf of these. */
  readonly #own = new Map<KmsProvider, KmsClient>();
  /** The clients that alone wrap and unwrap the key of a name. */
  readonly #reserved = new Map<string, KmsClient>();

  constructor(kms: KmsProvider, options: KmsProvidersOptions) {
    this.#application = options.application;
    this.#source = options.source;
    this.#heldWaitMs = options.heldWaitMs;
    this.#common = new Set([kms]);
    this.#clients = [this.#client(kms), ...options.others.map((other) => this.#client(other))];
  }

  /** The one that wraps. */
  get primary(): KmsClient {
    return this.#clients[0];
  }

  /** Returns the client of a provider, which from now on also unwraps for this process. */
  include(kms: KmsProvider): KmsClient {
    const known = this.#clients.find((client) => client.kms === kms);
    if (known !== undefined) return known;
    const added = this.#client(kms);
    this.#clients = [...this.#clients, added];
    return added;
  }

  /** Whether a provider is that of the common keys, be it until a rewrap. */
  isCommon(kms: KmsProvider): boolean {
    return this.#common.has(kms);
  }

  /** Leaves the data key of a name to one provider, which no other key is wrapped by. */
  reserve(keyName: string, kms: KmsProvider): void {
    this.#reserved.set(keyName, this.#ownClient(kms));
  }

  /** Returns the client that wraps the keys of a name. */
  wrapperOf(keyName: string): KmsClient {
    const reserved = this.#reserved.get(keyName);
    if (reserved === undefined && isOwnBranchName(keyName)) throw unknownKms(keyName);
    return reserved ?? this.primary;
  }

  /** Wraps with this provider from now on. */
  promote(client: KmsClient): void {
    this.#common.add(client.kms);
    this.#clients = [client, ...this.#clients.filter((other) => other !== client)];
  }

  /**
   * Unwraps with the provider that the record names. Several may have that name, as two passphrases
   * of a local KMS do: the first that succeeds is taken.
   *
   * @throws {@link KeyUnwrapError}, {@link KmsUnavailableError}
   */
  async unwrap(record: KeyRecord): Promise<OpenedKey> {
    const [first, ...rest] = this.#askedFor(record);
    if (first === undefined) throw unknownKms(record.name);
    try {
      return await openedBy(first, record);
    } catch (error) {
      if (!(error instanceof KeyUnwrapError)) throw error;
      return await openedByOneOf(rest, record, error);
    }
  }

  /**
   * Whether a record that unwraps can only have been made with a KMS, whichever provider of that name
   * unwraps it. Asks no KMS; {@link KmsProviders.unwrap} says it of the provider that did.
   */
  isAuthenticated(record: KeyRecord): boolean {
    return this.#askedFor(record).every((client) => client.isAuthenticated(record));
  }

  /** Whether there is a provider of the name in a record. */
  has({ kms, name }: Pick<KeyRecord, 'kms' | 'name'>): boolean {
    return this.#reserved.has(name) || this.#clients.some(({ name }) => name === kms);
  }

  /** Whether the providers that unwrap a record report that they are healthy. */
  async areHealthy(record: KeyRecord): Promise<boolean> {
    const answers = await Promise.all(this.#askedFor(record).map((client) => client.isHealthy()));
    return answers.length > 0 && !answers.includes(false);
  }

  async close(): Promise<void> {
    const providers = new Set([...this.#clients.map(({ kms }) => kms), ...this.#own.keys()]);
    await Promise.all(
      [...providers].map(async (kms) => {
        await kms.close?.();
      }),
    );
  }

  /**
   * For the branch of a scope whose KMS is not known, or is that of the common keys by now, returns the others of its
   * name: the scope may have left one of them.
   */
  #askedFor({ kms, name: keyName }: KeyRecord): readonly KmsClient[] {
    const reserved = this.#reserved.get(keyName);
    if (reserved !== undefined) return [reserved];
    if (isOwnBranchName(keyName)) {
      const others = this.#clients.filter(
        ({ name, kms: own }) => name === kms && !this.isCommon(own),
      );
      return others.map((client) => this.#ownClient(client.kms));
    }
    const [first = this.primary, ...rest] = this.#clients.filter(({ name }) => name === kms);
    return [first, ...rest];
  }

  #ownClient(kms: KmsProvider): KmsClient {
    const client =
      this.#own.get(kms) ??
      new OwnKmsClient(kms, this.#application, {
        source: this.#source,
        heldWaitMs: this.#heldWaitMs,
      });
    this.#own.set(kms, client);
    return client;
  }

  #client(kms: KmsProvider): KmsClient {
    return new KmsClient(kms, this.#application, this.#source);
  }
}

function unknownKms(keyName: string): KmsUnavailableError {
  return ofOwnKms(
    new KmsUnavailableError(
      `key "${keyName}" is under the KMS of a scope, which this process does not know: it has read and written no ` +
        'row of the scope yet, or the option `kms` returns none for the scope, or that of the common keys. Use the ' +
        'scope first; where it has left that KMS, add the provider to `otherKms`.',
    ),
  );
}

async function openedBy(client: KmsClient, record: KeyRecord): Promise<OpenedKey> {
  const bytes = await client.unwrap(record);
  return { bytes, isAuthenticated: client.isAuthenticated(record) };
}

async function openedByOneOf(
  clients: readonly KmsClient[],
  record: KeyRecord,
  failure: KeyUnwrapError,
): Promise<OpenedKey> {
  for (const client of clients) {
    try {
      return await openedBy(client, record);
    } catch (error) {
      if (!(error instanceof KeyUnwrapError)) throw error;
    }
  }
  throw failure;
}
