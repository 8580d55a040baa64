import type * as GoogleKms from '@google-cloud/kms';

import { loadPeer } from '../remote/optional-peer';
import type { Require } from '../remote/optional-peer';
import type { RemoteCalls } from '../remote/remote-calls';

import { failureOf } from './failures';
import type { Operation } from './failures';
import type { ParsedOptions } from './options';

type Client = GoogleKms.KeyManagementServiceClient;

/** Settings of one call of the SDK. */
export interface CallSettings {
  readonly timeout: number;
  /** Empty: the SDK's own retries would multiply with those of the provider. */
  readonly retry: { readonly retryCodes: number[] };
}

/** A client of Cloud KMS through the SDK, which is loaded at the first call. */
export class GcpClient {
  readonly #options: ParsedOptions;
  readonly #calls: RemoteCalls;
  readonly #require: Require | undefined;
  #own: Client | undefined;

  constructor(options: ParsedOptions, calls: RemoteCalls, require_?: Require) {
    this.#options = options;
    this.#calls = calls;
    this.#require = require_;
  }

  /** @param call - may throw a `TransientFailure` for an answer that was corrupted in transit */
  async call<T>(
    operation: Operation,
    call: (client: Client, settings: CallSettings) => Promise<T>,
  ): Promise<T> {
    const client = this.#options.client ?? this.#connected();
    const settings = { timeout: this.#options.limits.timeoutMs, retry: { retryCodes: [] } };
    return this.#calls.run(async () => {
      try {
        return await call(client, settings);
      } catch (error) {
        throw failureOf(error, operation);
      }
    });
  }

  /** Closes the client, unless the application supplied it. */
  async close(): Promise<void> {
    const own = this.#own;
    this.#own = undefined;
    await own?.close();
  }

  #connected(): Client {
    const sdk = loadPeer('gcpKms', '@google-cloud/kms', this.#require) as typeof GoogleKms;
    this.#own ??= new sdk.KeyManagementServiceClient();
    return this.#own;
  }
}

/** The Castagnoli polynomial, reversed. */
const POLYNOMIAL = 0x82f63b78;

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let remainder = byte;
  for (let bit = 0; bit < 8; bit += 1) {
    remainder = remainder & 1 ? (remainder >>> 1) ^ POLYNOMIAL : remainder >>> 1;
  }
  return remainder;
});

/** Computes the CRC-32C (RFC 3720 section 12.1) that Google Cloud KMS sends with each byte string. */
export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (TABLE[(crc ^ byte) & 0xff] ?? 0) ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}
