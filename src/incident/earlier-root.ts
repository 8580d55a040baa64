import type { KeyInfo } from '../keys/record/key-info';
import { run } from '../reencryption/runs/run';
import { defined } from '../typeorm/declare/option-rules';

import { interrupted, WaitError } from './response';
import type { Response } from './response';

/**
 * Ends a rotation of the blind indexes that was begun before the incident: until its root is destroyed, no other is
 * announced.
 */
export async function endEarlierRotation(
  { installation, keys, options }: Response,
  active: KeyInfo,
): Promise<void> {
  const { operations } = installation.keys;
  const earlier = (await keys.indexRoots()).filter(
    ({ id, state }) => id !== active.id && (state === 'deactivated' || state === 'compromised'),
  );
  for (const { id } of earlier) {
    const until = await operations.atRestFrom(id);
    if (until !== null) {
      throw new WaitError(
        'grace',
        'A process may make tokens with the root before this one.',
        until,
      );
    }
    const { signal, onProgress } = options;
    const { aborted } = await run(installation, 'reindex', defined({ signal, onProgress }));
    if (aborted) throw interrupted();
    await keys.destroy(id);
  }
}
