import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { dirname, join } from 'node:path';

import type { sendUnaryData, ServerUnaryCall, ServiceDefinition } from '@grpc/grpc-js';
import { credentials, Metadata, Server, ServerCredentials, status } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { KeyManagementServiceClient } from '@google-cloud/kms';

import { crc32c } from '../../src/kms/gcp/gcp-client';

interface Version {
  readonly material: Buffer;
  state: 'ENABLED' | 'DISABLED' | 'DESTROYED';
}

/** A failed checksum, as Cloud KMS reports it: in the answer when it encrypts, as an error else. */
interface Request {
  name: string;
  plaintext?: Buffer;
  plaintextCrc32c?: { value: string };
  ciphertext?: Buffer;
  ciphertextCrc32c?: { value: string };
  additionalAuthenticatedData: Buffer;
  additionalAuthenticatedDataCrc32c?: { value: string };
}

type Reply = Record<string, unknown>;

/** What goes wrong with a call. */
export interface GcpFault {
  readonly code?: number;
  readonly hang?: boolean;
  readonly times?: number;
  readonly change?: (reply: Reply) => Reply;
}

class StatusError extends Error {
  constructor(
    readonly code: number,
    readonly details = 'as the service puts it',
    readonly metadata = new Metadata(),
  ) {
    super(details);
  }
}

export const KEY_RING = 'projects/clinic/locations/europe-west3/keyRings/fields';

/**
 * A double of Google Cloud KMS over real gRPC, from the service definition that the SDK ships:
 * Encrypt, Decrypt and GetCryptoKey with real AES-GCM, checksums and key versions.
 */
export class GcpDouble {
  readonly calls: { readonly method: string; readonly request: Request }[] = [];
  readonly keys = new Map<string, Version[]>();
  readonly #server = new Server();
  #faults: { fault: GcpFault; left: number }[] = [];
  #port = 0;

  async start(): Promise<void> {
    this.#server.addService(serviceDefinition(), {
      Encrypt: this.#handler('Encrypt', (request) => this.#encrypt(request)),
      Decrypt: this.#handler('Decrypt', (request) => this.#decrypt(request)),
      GetCryptoKey: this.#handler('GetCryptoKey', (request) => this.#describe(request)),
    });
    this.#port = await new Promise<number>((resolve, reject) => {
      this.#server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) => {
        if (error === null) resolve(port);
        else reject(error);
      });
    });
  }

  stop(): void {
    this.#server.forceShutdown();
  }

  client(): KeyManagementServiceClient {
    return new KeyManagementServiceClient({
      servicePath: '127.0.0.1',
      port: this.#port,
      sslCreds: credentials.createInsecure(),
      projectId: 'clinic',
    });
  }

  makeKey(): string {
    const name = `${KEY_RING}/cryptoKeys/kek-${randomBytes(6).toString('hex')}`;
    this.keys.set(name, []);
    this.rotate(name);
    return name;
  }

  rotate(name: string): void {
    this.keys.get(name)?.push({ material: randomBytes(32), state: 'ENABLED' });
  }

  /** The next calls go wrong. */
  fail(fault: GcpFault): void {
    this.#faults.push({ fault, left: fault.times ?? 1 });
  }

  mend(): void {
    this.#faults = [];
    this.calls.length = 0;
  }

  #handler(method: string, answer: (request: Request) => Reply) {
    return (call: ServerUnaryCall<Request, Reply>, callback: sendUnaryData<Reply>): void => {
      this.calls.push({ method, request: call.request });
      const planned = this.#faults.find(({ left }) => left > 0);
      if (planned !== undefined) planned.left -= 1;
      const fault = planned?.fault ?? {};
      if (fault.hang === true) return;
      try {
        if (fault.code !== undefined)
          throw new StatusError(fault.code, JSON.stringify(call.request));
        const reply = answer(call.request);
        callback(null, fault.change === undefined ? reply : fault.change(reply));
      } catch (error) {
        callback(error as StatusError);
      }
    };
  }

  #versionsOf(name: string): Version[] {
    const versions = this.keys.get(name);
    if (versions === undefined) throw new StatusError(status.NOT_FOUND);
    return versions;
  }

  #encrypt(request: Request): Reply {
    const versions = this.#versionsOf(request.name);
    const number = versions.length;
    const { material } = usable(versions[number - 1]);
    const nonce = randomBytes(12);
    const cipher = createCipheriv('aes-256-gcm', material, nonce, { authTagLength: 16 });
    cipher.setAAD(request.additionalAuthenticatedData);
    const plaintext = request.plaintext ?? Buffer.alloc(0);
    const ciphertext = Buffer.concat([
      Uint8Array.of(number),
      nonce,
      cipher.update(plaintext),
      cipher.final(),
      cipher.getAuthTag(),
    ]);
    return {
      name: `${request.name}/cryptoKeyVersions/${String(number)}`,
      ciphertext,
      ciphertextCrc32c: { value: String(crc32c(ciphertext)) },
      verifiedPlaintextCrc32c: fits(plaintext, request.plaintextCrc32c),
      verifiedAdditionalAuthenticatedDataCrc32c: fits(
        request.additionalAuthenticatedData,
        request.additionalAuthenticatedDataCrc32c,
      ),
      protectionLevel: 'HSM',
    };
  }

  #decrypt(request: Request): Reply {
    const versions = this.#versionsOf(request.name);
    const ciphertext = request.ciphertext ?? Buffer.alloc(0);
    const isIntact =
      fits(ciphertext, request.ciphertextCrc32c) &&
      fits(request.additionalAuthenticatedData, request.additionalAuthenticatedDataCrc32c);
    const number = ciphertext[0] ?? 0;
    if (!isIntact || ciphertext.length < 29 || versions[number - 1] === undefined) {
      throw new StatusError(status.INVALID_ARGUMENT);
    }
    const { material } = usable(versions[number - 1]);
    const plaintext = open(material, ciphertext.subarray(1), request.additionalAuthenticatedData);
    return {
      plaintext,
      plaintextCrc32c: { value: String(crc32c(plaintext)) },
      usedPrimary: number === versions.length,
    };
  }

  #describe({ name }: Request): Reply {
    const versions = this.#versionsOf(name);
    const primary = {
      createTime: { seconds: 1_700_000_000 },
      name: `${name}/cryptoKeyVersions/${String(versions.length)}`,
      state: versions.at(-1)?.state,
    };
    return { name, primary, purpose: 'ENCRYPT_DECRYPT' };
  }
}

function serviceDefinition(): ServiceDefinition {
  const sdk = dirname(require.resolve('@google-cloud/kms/package.json'));
  const gax = dirname(
    require.resolve('google-gax', { paths: [sdk] }).replace(/build.src.*$/, 'package.json'),
  );
  const definitions = loadSync('google/cloud/kms/v1/service.proto', {
    includeDirs: [join(sdk, 'build', 'protos'), join(gax, 'build', 'protos')],
    longs: String,
    enums: String,
  });
  return definitions['google.cloud.kms.v1.KeyManagementService'] as unknown as ServiceDefinition;
}

function usable(version: Version | undefined): Version {
  if (version?.state === 'ENABLED') return version;
  throw new StatusError(status.FAILED_PRECONDITION);
}

function fits(bytes: Buffer, sent: { value: string } | undefined): boolean {
  return sent?.value === String(crc32c(bytes));
}

function open(material: Buffer, sealed: Buffer, aad: Buffer): Buffer {
  try {
    const decipher = createDecipheriv('aes-256-gcm', material, sealed.subarray(0, 12), {
      authTagLength: 16,
    });
    decipher.setAAD(aad);
    decipher.setAuthTag(sealed.subarray(-16));
    return Buffer.concat([decipher.update(sealed.subarray(12, -16)), decipher.final()]);
  } catch {
    throw new StatusError(status.INVALID_ARGUMENT);
  }
}
