import { decodeBase64 } from '../encoding/base64url';
import { ConfigurationError, DecryptionError } from '../errors';
import type { FieldEncryptionError } from '../errors';
import { isText, OptionChecks } from '../kms/remote/option-checks';
import { RemoteCalls } from '../kms/remote/remote-calls';
import { AuthenticatedCalls } from '../kms/vault/authenticated-calls';
import { notVault } from '../kms/vault/http-transport';
import { parseOptions } from '../kms/vault/options';
import type { VaultKmsOptions } from '../kms/vault/options';
import { keyPath } from '../kms/vault/refusals';
import type { KeyPlace, VaultRefusal } from '../kms/vault/refusals';
import { dataOf } from '../kms/vault/transit-key';
import { VaultClient } from '../kms/vault/vault-client';
import { VaultSession } from '../kms/vault/vault-session';

import { undecryptable } from './previous-format';
import type { RemotePreviousFormat } from './previous-format';

/** The address of Vault, the login, and the key that rows were encrypted under. */
export interface VaultTransitFormatOptions extends VaultKmsOptions {
  /** The context of every row under a derived key, as bytes or as base64. Defaults to none. */
  readonly context?: string | Uint8Array;
  /** The `associated_data` of every row, as bytes or as base64. Defaults to none. */
  readonly associatedData?: string | Uint8Array;
}

const FORM = /^vault:v[1-9]\d{0,8}:([\w+/]+={0,2})$/;
/** A nonce of 12 bytes and a tag of 16, the least that Transit writes. */
const MIN_SEALED_BYTES = 28;
/** The most values, and characters of them, in one request. */
const BATCH_VALUES = 256;
const BATCH_CHARS = 1024 * 1024;
/** Vault takes requests of 32 MiB, and plaintexts are shorter than their ciphertexts. */
const MAX_REPLY_BYTES = 32 * 1024 * 1024;

const check: OptionChecks = new OptionChecks('vaultTransitFormat');

/** The format `vault:v<version>:<base64>` of Vault's Transit engine, which decrypts a batch of values in one request. */
export class VaultTransitFormat implements RemotePreviousFormat {
  readonly name = 'Vault Transit';
  readonly #client: VaultClient;
  readonly #session: VaultSession;
  readonly #authenticated: AuthenticatedCalls;
  readonly #place: KeyPlace;
  /** Sent with every value. */
  readonly #parameters: Readonly<Record<string, string>>;

  /** @throws {@link ConfigurationError} for options that cannot work */
  constructor({ context, associatedData, ...vault }: VaultTransitFormatOptions) {
    const { server, place, source, limits } = parseOptions(vault);
    this.#client = new VaultClient({ ...server, maxBodyBytes: MAX_REPLY_BYTES });
    const calls = new RemoteCalls('vaultTransitFormat', limits);
    this.#session = new VaultSession(this.#client, calls, source);
    this.#authenticated = new AuthenticatedCalls(calls, this.#session);
    this.#place = place;
    this.#parameters = {
      ...parameter('context', 'context', context),
      ...parameter('associatedData', 'associated_data', associatedData),
    };
  }

  recognises(stored: string): boolean {
    const sealed = decodeBase64(FORM.exec(stored)?.[1] ?? '');
    return sealed !== undefined && sealed.length >= MIN_SEALED_BYTES;
  }

  async decryptAll(
    stored: readonly string[],
  ): Promise<readonly (Uint8Array | FieldEncryptionError)[]> {
    const results: (Uint8Array | FieldEncryptionError)[] = [];
    for (const batch of batches(stored)) results.push(...(await this.#decryptBatch(batch)));
    return results;
  }

  close(): Promise<void> {
    this.#session.close();
    this.#client.close();
    return Promise.resolve();
  }

  async #decryptBatch(
    batch: readonly string[],
  ): Promise<readonly (Uint8Array | FieldEncryptionError)[]> {
    try {
      const results = resultsOf(await this.#request(batch), batch.length);
      return results.map((result) => plaintextOf(result) ?? this.#notDecrypted());
    } catch (error) {
      if (!(error instanceof DecryptionError)) throw error;
      return batch.map(() => error);
    }
  }

  #request(batch: readonly string[]): Promise<unknown> {
    const { mount, key } = this.#place;
    const body = {
      batch_input: batch.map((ciphertext) => ({ ciphertext, ...this.#parameters })),
      // Otherwise one bad value would fail the request.
      partial_failure_response_code: 200,
    };
    return this.#authenticated.run(
      (options) => this.#client.write(`${mount}/decrypt/${key}`, body, options),
      (refusal) => this.#explain(refusal),
    );
  }

  #explain(refusal: VaultRefusal): FieldEncryptionError {
    const path = keyPath(this.#place);
    // Vault replies so, without an error message, if it decrypts none of a batch.
    if (refusal.status === 400 && !refusal.says('')) return this.#notDecrypted();
    if (refusal.status === 403 || refusal.status === 401) {
      return new ConfigurationError(
        `vaultTransitFormat: permission denied for ${path}. Check that the token is valid, and that its ` +
          'policy allows update on decrypt.',
      );
    }
    return new ConfigurationError(
      `vaultTransitFormat: the server refuses to decrypt with ${path} (status ${String(refusal.status)}). ` +
        'Check mount, key and namespace, and context where the key is derived.',
    );
  }

  #notDecrypted(): DecryptionError {
    const path = keyPath(this.#place);
    return undecryptable(
      this.name,
      `is not decrypted by ${path}`,
      'It is of another key or context, of a version below min_decryption_version, or was changed.',
    );
  }
}

/** Returns the results in a reply, or throws {@link ConfigurationError} if it is not one of Transit. */
function resultsOf(reply: unknown, count: number): readonly unknown[] {
  const results: unknown = dataOf(reply)['batch_results'];
  if (Array.isArray(results) && results.length === count) return results;
  throw notVault('to decrypt has not one result for each value');
}

/** Returns the plaintext in a result; `undefined` if it is an error, or not one of Transit. */
function plaintextOf(result: unknown): Uint8Array | undefined {
  if (typeof result !== 'object' || result === null) return undefined;
  const { plaintext, error } = result as Record<string, unknown>;
  const failed = typeof error === 'string' && error !== '';
  return failed || typeof plaintext !== 'string' ? undefined : decodeBase64(plaintext);
}

/** Splits a list so that no request is large; a large value goes alone. */
function* batches(stored: readonly string[]): Generator<readonly string[]> {
  let batch: string[] = [];
  let chars = 0;
  for (const text of stored) {
    if (batch.length === BATCH_VALUES || (batch.length > 0 && chars + text.length > BATCH_CHARS)) {
      yield batch;
      batch = [];
      chars = 0;
    }
    batch.push(text);
    chars += text.length;
  }
  if (batch.length > 0) yield batch;
}

function parameter(
  option: 'context' | 'associatedData',
  name: string,
  value: unknown,
): Record<string, string> {
  if (value === undefined) return {};
  if (value instanceof Uint8Array) return { [name]: Buffer.from(value).toString('base64') };
  check.require(
    isText(value) && decodeBase64(value) !== undefined,
    `${option} must be bytes, or text in base64`,
  );
  return { [name]: value };
}
