/**
 * Load on one token from several threads, as a process of its own: `node pkcs11-load.ts <JSON>`.
 * Prints what it did as JSON.
 */
import { randomBytes, randomInt } from 'node:crypto';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';

import type { KeyBinding } from '../../src/kms/kms-provider';
import type { Pkcs11KmsOptions } from '../../src/kms/pkcs11';
import { pkcs11Kms } from '../../src/kms/pkcs11';

export interface Load {
  readonly options: Omit<Pkcs11KmsOptions, 'pin'> & { readonly pin: string };
  readonly threads: number;
  readonly milliseconds: number;
}

export interface LoadReport {
  readonly operations: number;
  readonly errors: readonly string[];
  /** References of the KEKs that wrapped. */
  readonly keks: readonly string[];
}

if (isMainThread) void lead(JSON.parse(process.argv[2] ?? '{}') as Load);
else void work(workerData as Load);

async function lead(load: Load): Promise<void> {
  const reports = await Promise.all(Array.from({ length: load.threads }, () => inThread(load)));
  const report: LoadReport = {
    operations: reports.reduce((sum, { operations }) => sum + operations, 0),
    errors: reports.flatMap(({ errors }) => errors),
    keks: [...new Set(reports.flatMap(({ keks }) => keks))],
  };
  process.stdout.write(JSON.stringify(report));
}

function inThread(load: Load): Promise<LoadReport> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(__filename, { workerData: load });
    worker.once('message', resolve);
    worker.once('error', reject);
  });
}

async function work({ options, milliseconds }: Load): Promise<void> {
  const kms = pkcs11Kms(options);
  const errors: string[] = [];
  const keks = new Set<string>();
  let operations = 0;
  const end = performance.now() + milliseconds;
  const loop = async (): Promise<void> => {
    do {
      const key = randomBytes(32);
      const binding: KeyBinding = {
        application: 'load',
        keyId: randomBytes(8).toString('hex'),
        keyName: `key${String(randomInt(9))}`,
        purpose: 'data',
      };
      try {
        const wrapped = await kms.wrapKey(key, binding);
        const unwrapped = await kms.unwrapKey(wrapped, binding);
        if (!key.equals(unwrapped)) errors.push('unwrapped other bytes');
        keks.add(wrapped.kek);
        operations += 2;
      } catch (error) {
        errors.push(String(error));
      }
    } while (performance.now() < end && errors.length < 20);
  };
  await Promise.all([loop(), loop(), loop(), loop()]);
  await kms.close?.();
  const report: LoadReport = { operations, errors, keks: [...keks] };
  parentPort?.postMessage(report);
}
