import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { localKms } from '../src';
import type { KmsProvider } from '../src';

const folder = mkdtempSync(join(tmpdir(), 'field-encryption-bench-key-'));

/** The KEK of this process, deleted at its end. */
export const KEY_FILE = join(folder, 'kek');
writeFileSync(KEY_FILE, randomBytes(32).toString('hex'), { mode: 0o600 });
process.once('exit', () => {
  rmSync(folder, { recursive: true });
});

/** A KMS that costs no key derivation and no round trip. */
export function keyFileKms(keyFile = KEY_FILE): KmsProvider {
  return localKms({ keyFile });
}

/** A KMS with the latency of one in the cloud. */
export function distantKms(latencyMs: number): KmsProvider {
  const near = keyFileKms();
  return {
    name: near.name,
    wrapKey: async (key, binding) => {
      await sleep(latencyMs);
      return near.wrapKey(key, binding);
    },
    unwrapKey: async (wrapped, binding) => {
      await sleep(latencyMs);
      return near.unwrapKey(wrapped, binding);
    },
    health: () => near.health(),
  };
}
