import type * as AwsKms from '@aws-sdk/client-kms';

import type { Require } from '../remote/optional-peer';
import { loadPeer } from '../remote/optional-peer';
import type { RemoteCalls } from '../remote/remote-calls';
import { failureOf } from './failures';
import type { ParsedOptions } from './options';

type Sdk = typeof AwsKms;

/** Speaks to AWS KMS through the SDK, which is loaded at the first call. */
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
    return this.#send((sdk, client, abortSignal) =>
      client.send(new sdk.EncryptCommand(input), { abortSignal }),
    );
  }

  decrypt(input: AwsKms.DecryptCommandInput): Promise<AwsKms.DecryptCommandOutput> {
    return this.#send((sdk, client, abortSignal) =>
      client.send(new sdk.DecryptCommand(input), { abortSignal }),
    );
  }

  describeKey(input: AwsKms.DescribeKeyCommandInput): Promise<AwsKms.DescribeKeyCommandOutput> {
    return this.#send((sdk, client, abortSignal) =>
      client.send(new sdk.DescribeKeyCommand(input), { abortSignal }),
    );
  }

  /** Leaves a client that was given alone. */
  close(): void {
    this.#own?.destroy();
    this.#own = undefined;
  }

  async #send<T>(
    call: (sdk: Sdk, client: AwsKms.KMSClient, signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const sdk = loadPeer('awsKms', '@aws-sdk/client-kms', this.#require) as Sdk;
    const client = this.#options.client ?? this.#connected(sdk);
    return this.#calls.run(async (signal) => {
      try {
        return await call(sdk, client, signal);
      } catch (error) {
        throw failureOf(error);
      }
    });
  }

  #connected(sdk: Sdk): AwsKms.KMSClient {
    this.#own ??= new sdk.KMSClient({ ...this.#options.settings, maxAttempts: 1 });
    return this.#own;
  }
}
