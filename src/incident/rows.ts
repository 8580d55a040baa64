import type { KeyInfo } from '../keys/record/key-info';
import type { RunMode } from '../reencryption/report/run-report';
import { run } from '../reencryption/runs/run';
import { defined } from '../typeorm/declare/option-rules';

import { replaceScopes } from './replace';
import { interrupted, keysOf, rowsOf, WaitError } from './response';
import type { Counts, Response } from './response';
import { tablesOf } from './risk';
import type { RowsAtRisk } from './risk';

/** Moves the rows at risk to other keys, and makes their tokens again where a root is compromised. */
export async function moveRows(response: Response): Promise<Counts> {
  const { log, id } = response;
  const keys = await keysOf(response, await log.find(id));
  for (const key of keys) await replaceScopes(response, key);
  let changed = 0;
  for (const mode of ['reencrypt', 'reindex'] as const) {
    const concerned = keys.filter(({ purpose }) => (purpose === 'index') === (mode === 'reindex'));
    const rows = await rowsOf(response, concerned);
    if (rows.length === 0) continue;
    if (mode === 'reindex') await requireSettled(response, concerned);
    const report = await runOver(response, mode, concerned, rows);
    changed += report.changed;
    const left = (await rowsOf(response, concerned)).reduce((sum, each) => sum + each.rows, 0);
    if (left === 0) continue;
    throw new WaitError(
      'rows',
      `${String(left)} values are still under the compromised keys: ${String(report.failed)} rows failed, others were written meanwhile by processes ` +
        'that still had a key, or belong to scopes that are to be erased. `field-encryption data verify` lists the first.',
    );
  }
  return { rows: changed };
}

async function runOver(
  { installation, options }: Response,
  mode: RunMode,
  keys: readonly KeyInfo[],
  rows: readonly RowsAtRisk[],
): Promise<{ changed: number; failed: number; scanned: number }> {
  const entities = tablesOf(installation, keys, rows).map(({ metadata }) => metadata.target);
  if (entities.length === 0) return { changed: 0, failed: 0, scanned: 0 };
  const { signal, onProgress } = options;
  const { aborted, ...report } = await run(installation, mode, {
    ...defined({ signal, onProgress }),
    entities,
  });
  if (aborted) throw interrupted();
  return report;
}

/** Tokens are made again once no process makes any with the old root. */
async function requireSettled(
  { installation }: Response,
  roots: readonly KeyInfo[],
): Promise<void> {
  for (const { id, state } of roots) {
    if (state === 'destroyed') continue;
    const until = await installation.keys.operations.atRestFrom(id);
    if (until !== null)
      throw new WaitError('grace', 'A process may make tokens with the old root.', until);
  }
}

/** Reads the rows, and their tokens, of all entities that the keys protected. */
export async function verifyRows(response: Response): Promise<Counts> {
  const { log, id } = response;
  const keys = await keysOf(response, await log.find(id));
  const { failed, scanned } = await runOver(response, 'verify', keys, await rowsOf(response, keys));
  if (failed === 0) return { rows: scanned };
  throw new WaitError(
    'rows',
    `${String(failed)} rows of the entities at risk do not read, or have tokens that are not theirs. \`field-encryption data verify\` ` +
      'lists them with why: an outage of a KMS passes; what is damaged can be restored from a backup, and only what is ' +
      'given up should be deleted. Then resume.',
  );
}
