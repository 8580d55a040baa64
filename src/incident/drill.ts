import { performance } from 'node:perf_hooks';

import { FieldCipher } from '../field/field-cipher';
import { keyPrefix } from '../format/data-key-id';
import { ScratchKeyStore, scratchKms } from '../keys/backup/scratch-key-store';
import { KeyManager } from '../keys/key-manager';
import type { KeyInfo } from '../keys/record/key-info';
import { KeyWrapper } from '../keys/wrapping/key-wrapper';
import { sample } from '../reencryption/coverage/drill';
import { encryptedTables } from '../reencryption/encrypted-table';
import { withConnection } from '../typeorm/connection/lent-connection';
import type { Installation } from '../typeorm/installation/installation';

import { inOrder, rowsAtRisk } from './risk';
import type { IncidentParts, RowsAtRisk } from './risk';

/** What a drill found out. */
export interface IncidentDrill {
  /** The keys that would be replaced. */
  readonly keys: readonly KeyInfo[];
  /** The rows that would be moved, by column, in the order of their entities. */
  readonly rows: readonly RowsAtRisk[];
  /** Sampled values that were encrypted in memory under a new key, and read again. */
  readonly tried: number;
  /** How long all rows would take with one worker, by the samples; `null` where none of the rows of a key can be tried. */
  readonly estimatedSeconds: number | null;
}

/** The most values that are read of each column. */
const SAMPLES = 100;
/** Writing takes about as long as reading, decrypting and encrypting. */
const WRITING_SHARE = 2;

/** Moves samples of the rows at risk to new keys, in memory alone. */
export async function drillIncident(
  parts: IncidentParts,
  keys: readonly KeyInfo[],
): Promise<IncidentDrill> {
  const { installation } = parts;
  const rows: RowsAtRisk[] = [];
  let [tried, seconds] = [0, 0];
  for (const key of keys) {
    const found = await rowsAtRisk(parts, key);
    rows.push(...found);
    const start = performance.now();
    const moved = await moveSamples(installation, key);
    const all = found.reduce((sum, each) => sum + each.rows, 0);
    tried += moved;
    const passed = (performance.now() - start) / 1000;
    if (all > 0) seconds += (passed / moved) * all * WRITING_SHARE;
  }
  const order = inOrder(installation, rows);
  rows.sort((a, b) => order.indexOf(a.entity) - order.indexOf(b.entity));
  return {
    keys,
    rows,
    tried,
    estimatedSeconds: Number.isFinite(seconds) ? Math.ceil(seconds) : null,
  };
}

/** Encrypts some values under a data key again, under a new version in a key table in memory. Returns how many. */
async function moveSamples(installation: Installation, key: KeyInfo): Promise<number> {
  const { dataSource, options } = installation;
  if (key.purpose !== 'data') return 0;
  const { application, suite } = options;
  const [store, kms] = [new ScratchKeyStore(), scratchKms()];
  const scratch = new KeyManager({ store, kms, application, suite });
  const spec = { name: key.name, purpose: 'data', version: key.version + 1, suite } as const;
  const { record } = await new KeyWrapper(kms, application).create(spec, new Date());
  await store.apply([{ type: 'insert', record }]);
  let moved = 0;
  try {
    await scratch.prepare([key.name], { index: false });
    await installation.loadKeys([keyPrefix(key.id)]);
    await withConnection(dataSource, undefined, async (runner) => {
      for (const table of encryptedTables(installation)) {
        for (const encrypted of table.columns) {
          const { binding, policy } = encrypted;
          if (policy.keyName !== key.name) continue;
          const copy = new FieldCipher(policy, application, scratch);
          for (const { stored, bound } of await sample(runner, table, encrypted, {
            keyId: key.id,
            limit: SAMPLES,
          })) {
            const context = binding?.contextOf((i) => bound[i]);
            copy.decrypt(copy.encrypt(encrypted.cipher.decrypt(stored, context), context), context);
            moved += 1;
          }
        }
      }
    });
    return moved;
  } finally {
    await scratch.close();
  }
}
