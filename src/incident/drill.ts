import { performance } from 'node:perf_hooks';

import { ErasedError, FieldEncryptionError } from '../errors';
import { ScratchKeyStore, scratchKms } from '../keys/backup/scratch-key-store';

import { KeyManager } from '../keys/key-manager';
import type { KeyInfo } from '../keys/record/key-info';
import { INDEX_ROOT_NAME } from '../keys/record/key-record';
import { acrossScopes } from '../keys/scopes/scope-context';
import { KeyWrapper } from '../keys/wrapping/key-wrapper';
import { columnCopy, sample } from '../reencryption/coverage/drill';
import type { EncryptedTable } from '../reencryption/encrypted-table';
import { withConnection } from '../typeorm/connection/lent-connection';
import type { Installation } from '../typeorm/installation/installation';
import { keyPrefixOf } from '../typeorm/metadata/encrypted-column';
import type { EncryptedColumn } from '../typeorm/metadata/encrypted-column';

import { rowsOf } from './response';
import { tablesOf } from './risk';
import type { IncidentParts, RowsAtRisk } from './risk';

/** What a drill found out. */
export interface IncidentDrill {
  /** The keys that would be replaced. */
  readonly keys: readonly KeyInfo[];
  /** The rows that would be moved, by key and column, in the order of their entities. */
  readonly rows: readonly RowsAtRisk[];
  /** Sampled values that were encrypted again in memory, with their tokens, under new keys. */
  readonly tried: number;
  /** Sampled values that do not read now: `verify` would stop at them. */
  readonly unreadable: number;
  /** How long all rows would take with one worker, by the samples; `null` where none of a column could be tried. */
  readonly estimatedSeconds: number | null;
  /** How long the keys have to rest afterwards before they are destroyed, unless `graceMs` is given. */
  readonly graceSeconds: number;
}

/** The most values that are read of each column. */
const SAMPLES = 100;
/** Writing takes about as long as reading, decrypting and encrypting. */
const WRITING_SHARE = 2;

/** A column, of which samples are moved to new keys. */
interface SampledColumn {
  readonly table: EncryptedTable;
  readonly encrypted: EncryptedColumn;
}

/** Moves samples of the rows at risk to new keys, in memory alone. */
export async function drillIncident(
  parts: IncidentParts,
  keys: readonly KeyInfo[],
): Promise<IncidentDrill> {
  const { installation } = parts;
  const rows = await rowsOf(parts, keys);
  const tables = tablesOf(installation, keys, rows);
  const order = tables.flatMap((table) => table.columns.map(({ policy }) => policy.entity));
  rows.sort((a, b) => order.indexOf(a.entity) - order.indexOf(b.entity));
  const columns = tables.flatMap((table) =>
    table.columns
      .filter(({ policy }) => rows.some((each) => isOf(each, policy)))
      .map((encrypted) => ({ table, encrypted })),
  );
  const scratch = await scratchKeys(installation, columns);
  let [tried, unreadable, seconds] = [0, 0, 0];
  try {
    for (const column of columns) {
      const start = performance.now();
      const moved = await acrossScopes(() => moveSamples(installation, column, scratch));
      const passed = (performance.now() - start) / 1000;
      const all = rows.filter((each) => isOf(each, column.encrypted.policy));
      tried += moved.tried;
      unreadable += moved.unreadable;
      seconds += all.reduce((sum, each) => sum + each.rows, 0) * (passed / moved.tried);
    }
  } finally {
    await scratch.close();
  }
  const estimate = Math.ceil(seconds * WRITING_SHARE);
  const estimatedSeconds = Number.isFinite(estimate) ? estimate : null;
  const graceSeconds = Math.ceil(installation.keys.cachePolicy.maxAgeMs / 1000);
  return { keys, rows, tried, unreadable, estimatedSeconds, graceSeconds };
}

function isOf(
  { entity, property }: Pick<RowsAtRisk, 'entity' | 'property'>,
  policy: Pick<RowsAtRisk, 'entity' | 'property'>,
): boolean {
  return entity === policy.entity && property === policy.property;
}

/** Returns new keys in memory for some columns. */
async function scratchKeys(
  { options: { application, suite } }: Installation,
  columns: readonly SampledColumn[],
): Promise<KeyManager> {
  const [store, kms] = [new ScratchKeyStore(), scratchKms()];
  const wrapper = new KeyWrapper(kms, application);
  const names = [...new Set(columns.map(({ encrypted }) => encrypted.policy.keyName))];
  const specs = [
    ...names.map((name) => ({ name, purpose: 'data', version: 1, suite }) as const),
    { name: INDEX_ROOT_NAME, purpose: 'index', version: 1, suite: 'hmac-sha-256' } as const,
  ];
  for (const spec of specs) {
    const { record } = await wrapper.create(spec, new Date());
    await store.apply([{ type: 'insert', record }]);
  }
  const keys = new KeyManager({ store, kms, application, suite });
  await keys.prepare(names, { index: true });
  return keys;
}

/** Decrypts some values of a column, encrypts them under other keys, and makes their tokens with those. */
async function moveSamples(
  installation: Installation,
  { table, encrypted }: SampledColumn,
  scratch: KeyManager,
): Promise<Pick<IncidentDrill, 'tried' | 'unreadable'>> {
  const { dataSource, options } = installation;
  const samples = await withConnection(dataSource, undefined, (runner) =>
    sample(runner, table, encrypted, { limit: SAMPLES }),
  );
  const named = samples.filter(({ stored }) => keyPrefixOf(encrypted, stored) !== undefined);
  await installation.loadKeys(named.map(({ stored }) => keyPrefixOf(encrypted, stored) ?? ''));
  const copy = columnCopy(encrypted, options.application, scratch);
  const moved = { tried: 0, unreadable: 0 };
  for (const { stored, bound } of named) {
    try {
      const context = encrypted.binding?.contextOf((i) => bound[i]);
      const value = encrypted.cipher.decrypt(stored, context);
      copy.cipher.decrypt(copy.cipher.encrypt(value, context), context);
      for (const index of copy.indexes) index.token(value);
      moved.tried += 1;
    } catch (error) {
      if (!(error instanceof FieldEncryptionError) || error.retryable) throw error;
      if (!(error instanceof ErasedError)) moved.unreadable += 1;
    }
  }
  return moved;
}
