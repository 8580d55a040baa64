import { KmsUnavailableError } from '../../errors';
import { unwrappedKey } from '../key-bytes';
import type { KeyBinding, KmsHealth, KmsProvider, WrappedKey } from '../kms-provider';
import { healthOf, withEvidence, evidenceOf, UsedRights } from '../remote/health';
import type { RemoteCalls } from '../remote/remote-calls';

import { AuthenticatedCalls } from './authenticated-calls';
import { notVault } from './http-transport';
import { explain, explainDecrypt, keyPath, rightTo } from './refusals';
import type { KeyPlace, VaultRefusal } from './refusals';
import { dataOf, parseKey, requireAcceptable, TransitRights } from './transit-key';
import type { TransitKey } from './transit-key';
import type { VaultClient } from './vault-client';
import type { VaultSession } from './vault-session';
import { associatedData, parseTransit, parseWrapped, serialize, transitText } from './wrapped-form';

/** Makes the server describe its state, with status 200 in any state. */
const SERVER_STATE_PATH =
  'sys/health?standbyok=true&perfstandbyok=true&drsecondarycode=200&sealedcode=200&uninitcode=200';

/** A provider that wraps and unwraps through Vault's Transit engine. */
export class VaultKmsProvider implements KmsProvider {
  readonly name = 'vault';
  readonly #client: VaultClient;
  readonly #calls: RemoteCalls;
  readonly #session: VaultSession;
  readonly #authenticated: AuthenticatedCalls;
  readonly #place: KeyPlace;
  readonly #rights: TransitRights;
  readonly #used = new UsedRights();

  constructor(client: VaultClient, calls: RemoteCalls, session: VaultSession, place: KeyPlace) {
    this.#client = client;
    this.#calls = calls;
    this.#session = session;
    this.#authenticated = new AuthenticatedCalls(calls, session);
    this.#place = place;
    this.#rights = new TransitRights(client, calls, session, place);
  }

  async wrapKey(key: Uint8Array, binding: KeyBinding): Promise<WrappedKey> {
    const body = {
      plaintext: Buffer.from(key).toString('base64'),
      associated_data: associatedData(binding),
    };
    // If the policy allows it to create, Transit would make a missing key, of a type of its choice.
    requireAcceptable(await this.#describeKey(), this.#place);
    const { ciphertext } = dataOf(await this.#used.wrapping(this.#write('encrypt', body)));
    const parsed = typeof ciphertext === 'string' ? parseTransit(ciphertext) : undefined;
    if (parsed === undefined) throw notVault('to encrypt is not a ciphertext of Transit');
    return { kek: this.#kekReference(parsed.version), wrapped: serialize(parsed) };
  }

  async unwrapKey({ wrapped }: WrappedKey, binding: KeyBinding): Promise<Uint8Array> {
    const parsed = parseWrapped(wrapped);
    const body = { ciphertext: transitText(parsed), associated_data: associatedData(binding) };
    const decrypting = this.#write('decrypt', body, (refusal) =>
      explainDecrypt(refusal, this.#place, parsed.version),
    );
    const reply = await this.#used.unwrapping(decrypting);
    return keyOf(dataOf(reply)['plaintext']);
  }

  health(): Promise<KmsHealth> {
    return healthOf(() => this.#probe());
  }

  close(): Promise<void> {
    this.#session.close();
    this.#client.close();
    return Promise.resolve();
  }

  async #probe(): Promise<Partial<KmsHealth>> {
    try {
      const key = await this.#describeKey();
      requireAcceptable(key, this.#place);
      const { latestVersion, createdAt: kekCreatedAt } = key;
      const kekVersion = String(latestVersion);
      const found = { detail: this.#describe(kekVersion), kekVersion, kekCreatedAt };
      return { ...found, ...(await this.#mayUse(found.detail)) };
    } catch (error) {
      if (!(error instanceof KmsUnavailableError)) throw error;
      const state = await this.#serverState();
      const explained = new KmsUnavailableError(`${error.message}. ${state}`.trim());
      throw withEvidence(explained, state === '' ? evidenceOf(error) : { reachable: true });
    }
  }

  #describe(version: string): string {
    const { endsAt } = this.#session;
    const key = `${keyPath(this.#place)}, version ${version}`;
    return endsAt === undefined
      ? key
      : `${key}; nothing renews the token, which ends at ${endsAt.toISOString()}`;
  }

  /** Asks the server for the rights, or else returns what the last uses showed. */
  async #mayUse(detail: string): Promise<Partial<KmsHealth>> {
    const told = await this.#rights.ask();
    if (told.mayWrap === undefined) return this.#used.known;
    const lacking = [
      ...(told.mayWrap ? [] : [rightTo('encrypt', this.#place)]),
      ...(told.mayUnwrap === false ? [rightTo('decrypt', this.#place)] : []),
    ];
    if (lacking.length === 0) return told;
    const policy = `the policy of the token lacks ${lacking.join(' and ')}`;
    return { ...told, ok: told.mayUnwrap !== false, detail: `${detail}; ${policy}` };
  }

  async #describeKey(): Promise<TransitKey> {
    const reply = await this.#authenticated.run(
      (options) => this.#client.read(keyPath(this.#place), options),
      (refusal) => explain(refusal, this.#place, 'keys'),
    );
    return parseKey(reply);
  }

  #write(
    operation: 'encrypt' | 'decrypt',
    body: object,
    explainRefusal = (refusal: VaultRefusal): Error => explain(refusal, this.#place, operation),
  ): Promise<unknown> {
    const { mount, key } = this.#place;
    return this.#authenticated.run(
      (options) => this.#client.write(`${mount}/${operation}/${key}`, body, options),
      explainRefusal,
    );
  }

  async #serverState(): Promise<string> {
    try {
      const reply = await this.#calls.within(({ signal }) =>
        this.#client.readRoot(SERVER_STATE_PATH, signal),
      );
      return describeServer(reply);
    } catch {
      return '';
    }
  }

  #kekReference(version: number): string {
    const { namespace } = this.#place;
    const path = [...(namespace === undefined ? [] : [namespace]), keyPath(this.#place)].join('/');
    return `vault:${path}:v${String(version)}`;
  }
}

/** @throws {@link KeyUnwrapError} for anything but the base64 of 32 bytes */
function keyOf(plaintext: unknown): Uint8Array {
  const bytes = Buffer.from(typeof plaintext === 'string' ? plaintext : '', 'base64');
  const isCanonical = bytes.toString('base64') === plaintext;
  return unwrappedKey('vaultKms', isCanonical ? bytes : undefined);
}

/** Describes the state of a server in a sentence; empty for an answer of another shape. */
function describeServer(reply: unknown): string {
  if (typeof reply !== 'object' || reply === null) return '';
  const state = reply as Record<string, unknown>;
  if (state['initialized'] === false) return 'The server is not initialized.';
  if (state['sealed'] === true) return 'The server is sealed.';
  if (state['replication_dr_mode'] === 'secondary') return 'It is a disaster recovery standby.';
  if (state['standby'] === true || state['performance_standby'] === true) return 'It is a standby.';
  return state['sealed'] === false ? 'The server says that it is active.' : '';
}
