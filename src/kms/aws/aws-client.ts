import type * as AwsKms from '@aws-sdk/client-kms';

import { loadPeer } from '../remote/optional-peer';
import type { Require } from '../remote/optional-peer';
import type { RemoteCalls } from '../remote/remote-calls';

import { failureOf, isOfCredentials } from './failures';
import type { Right } from './failures';
import type { ParsedOptions } from './options';

type Sdk = typeof AwsKms;

/** A client of AWS KMS through the SDK, which is loaded at the first call. */
export class AwsClient {
  readonly #options: ParsedOptions;
  readonly #calls: RemoteCalls;
  readonly #require: Require | undefined;
  #own: AwsKms.KMSClient | undefined;

  constructor(options: ParsedOptions, calls: RemoteCalls, require_?: Require) {
    this.#options = options;
    this.#calls = calls;
    this.#require = require_;
  }

  encrypt(input: AwsKms.EncryptCommandInput): Promise<AwsKms.EncryptCommandOutput> {
    return this.#send('kms:Encrypt', (sdk, client, abortSignal) =>
      client.send(new sdk.EncryptCommand(input), { abortSignal }),
    );
  }

  decrypt(input: AwsKms.DecryptCommandInput): Promise<AwsKms.DecryptCommandOutput> {
    return this.#send('kms:Decrypt', (sdk, client, abortSignal) =>
      client.send(new sdk.DecryptCommand(input), { abortSignal }),
    );
  }

  describeKey(input: AwsKms.DescribeKeyCommandInput): Promise<AwsKms.DescribeKeyCommandOutput> {
    return this.#send('kms:DescribeKey', (sdk, client, abortSignal) =>
      client.send(new sdk.DescribeKeyCommand(input), { abortSignal }),
    );
  }

  /** Closes the client, unless the application supplied it. */
  close(): void {
    this.#own?.destroy();
    this.#own = undefined;
  }

  async #send<T>(
    right: Right,
    call: (sdk: Sdk, client: AwsKms.KMSClient, signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const sdk = loadPeer('awsKms', '@aws-sdk/client-kms', this.#require) as Sdk;
    const failed = { ofCredentials: false };
    const run = (client: AwsKms.KMSClient): Promise<T> =>
      this.#calls.run(async (signal) => {
        try {
          return await call(sdk, client, signal);
        } catch (error) {
          failed.ofCredentials = isOfCredentials(error);
          throw failureOf(error, right);
        }
      });
    if (this.#options.client !== undefined) return run(this.#options.client);
    const client = this.#connected(sdk);
    try {
      return await run(client);
    } catch (error) {
      if (!failed.ofCredentials) throw error;
      // A client reads its credentials once, and there may be others by now.
      if (this.#own === client) this.close();
      return await run(this.#connected(sdk));
    }
  }

  #connected(sdk: Sdk): AwsKms.KMSClient {
    // Makes the SDK read credential files again, which it otherwise caches for the whole process.
    const fresh: object = { ignoreCache: true };
    this.#own ??= new sdk.KMSClient({ ...this.#options.settings, ...fresh, maxAttempts: 1 });
    return this.#own;
  }
}
