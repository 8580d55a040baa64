import { KeyUnwrapError, KmsUnavailableError } from '../../errors';
import type { KmsProvider } from '../../kms/kms-provider';
import type { KeyRecord } from '../record/key-record';
import { isOwnBranchName } from '../record/scope';

import { askingOwnKms } from './own-kms-refusals';
import { KmsClient } from './kms-client';

/** A key that a provider unwrapped. The caller wipes the bytes. */
export interface OpenedKey {
  readonly bytes: Uint8Array;
  /** Whether it can only have been made with that provider. */
  readonly isAuthenticated: boolean;
}

/** The KMS providers of a process: one wraps new keys, all unwrap the keys they have wrapped. */
export class KmsProviders {
  readonly #application: string;
  readonly #source: object;
  #clients: readonly [KmsClient, ...KmsClient[]];
  /** The clients that alone wrap and unwrap the key of a name. */
  readonly #reserved = new Map<string, KmsClient>();

  constructor(
    kms: KmsProvider,
    others: readonly KmsProvider[],
    { application, source }: { readonly application: string; readonly source: object },
  ) {
    this.#application = application;
    this.#source = source;
    this.#clients = [this.#client(kms), ...others.map((other) => this.#client(other))];
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

  /** Leaves the data key of a name to one provider, which no other key is wrapped by. */
  reserve(keyName: string, kms: KmsProvider): void {
    this.#reserved.set(keyName, this.#client(kms));
  }

  /** Returns the client that wraps the keys of a name. */
  wrapperOf(keyName: string): KmsClient {
    const reserved = this.#reserved.get(keyName);
    if (reserved === undefined && isOwnBranchName(keyName)) throw unknownKms(keyName);
    return reserved ?? this.primary;
  }

  /** Wraps with this provider from now on. */
  promote(client: KmsClient): void {
    this.#clients = [client, ...this.#clients.filter((other) => other !== client)];
  }

  /**
   * Unwraps with the provider that the record names. Several may have that name, as two passphrases
   * of a local KMS do: the first that succeeds is taken.
   *
   * @throws {@link KeyUnwrapError}, {@link KmsUnavailableError}
   */
  async unwrap(record: KeyRecord): Promise<OpenedKey> {
    const reserved = this.#reserved.get(record.name);
    if (reserved !== undefined) return askingOwnKms(() => openedBy(reserved, record));
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
    const answers = this.#askedFor(record).map(({ kms }) => kms.health());
    return answers.length > 0 && (await Promise.all(answers)).every(({ ok }) => ok);
  }

  async close(): Promise<void> {
    await Promise.all(
      [...this.#clients, ...this.#reserved.values()].map(async ({ kms }) => {
        await kms.close?.();
      }),
    );
  }

  /** Returns none for the branch of a scope whose KMS is not known yet. */
  #askedFor({ kms, name: keyName }: KeyRecord): readonly KmsClient[] {
    const reserved = this.#reserved.get(keyName);
    if (reserved !== undefined) return [reserved];
    if (isOwnBranchName(keyName)) return [];
    const [first = this.primary, ...rest] = this.#clients.filter(({ name }) => name === kms);
    return [first, ...rest];
  }

  #client(kms: KmsProvider): KmsClient {
    return new KmsClient(kms, this.#application, this.#source);
  }
}

function unknownKms(keyName: string): KmsUnavailableError {
  return new KmsUnavailableError(
    `key "${keyName}" is under the KMS of a scope, which this process does not know: it has read and written no ` +
      'row of the scope yet, or the option `kms` gives the scope another KMS now. Use the scope first.',
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
