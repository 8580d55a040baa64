import type { KeyInfo } from '../keys/record/key-info';
import { run } from '../reencryption/runs/run';
import { defined } from '../typeorm/declare/option-rules';

import { replaceScopes } from './replace';
import { keysOf, rowsOf, WaitError } from './response';
import type { Counts, Response } from './response';
import { inOrder } from './risk';

/** Moves the rows at risk to other keys, and makes their tokens again where a root is compromised. */
export async function moveRows(response: Response): Promise<Counts> {
  const { installation, options, log, id } = response;
  const runOptions = defined({ signal: options.signal, onProgress: options.onProgress });
  const keys = await keysOf(response, await log.find(id));
  for (const key of keys) await replaceScopes(response, key);
  let changed = 0;
  for (const mode of ['reencrypt', 'reindex'] as const) {
    const concerned = keys.filter(({ purpose }) => (purpose === 'index') === (mode === 'reindex'));
    const entities = inOrder(installation, await rowsOf(response, concerned));
    if (entities.length === 0) continue;
    if (mode === 'reindex') await requireSettled(response, concerned);
    const { aborted, ...report } = await run(installation, mode, { ...runOptions, entities });
    changed += report.changed;
    const left = (await rowsOf(response, concerned)).reduce((sum, { rows }) => sum + rows, 0);
    if (left === 0 && !aborted) continue;
    if (aborted) throw interrupted();
    throw new WaitError(
      'rows',
      `${String(left)} values are still under the compromised keys: ${String(report.failed)} rows failed, others were written meanwhile by processes ` +
        'that still had a key, or belong to scopes that are to be erased. `field-encryption data verify` lists the first.',
    );
  }
  return { rows: changed };
}

/** Tokens are made again once no process makes any with the old root. */
async function requireSettled(
  { installation }: Response,
  roots: readonly KeyInfo[],
): Promise<void> {
  for (const { id } of roots) {
    const until = await installation.keys.operations.atRestFrom(id);
    if (until !== null)
      throw new WaitError('grace', 'A process may make tokens with the old root.', until);
  }
}

/** Reads all rows and their tokens. */
export async function verifyRows({ installation, options }: Response): Promise<Counts> {
  const { scanned, failed, aborted } = await run(
    installation,
    'verify',
    defined({ signal: options.signal, onProgress: options.onProgress }),
  );
  if (aborted) throw interrupted();
  if (failed === 0) return { rows: scanned };
  throw new WaitError(
    'rows',
    `${String(failed)} rows do not read, or have tokens that are not theirs. \`field-encryption data verify\` lists them: mend or delete them.`,
  );
}

function interrupted(): WaitError {
  return new WaitError('resumption', 'It was interrupted, and goes on where it stopped.');
}
