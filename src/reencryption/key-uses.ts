import type { QueryRunner } from 'typeorm';
import type { ColumnUse, CountedKey } from '../keys/key-retirement';
import { isUnneeded } from '../keys/key-retirement';
import type { Installation } from '../typeorm/installation';
import { indexUses } from './index-uses';
import { columnUses } from './status';

/**
 * What still needs a key: rows of encrypted columns, or tokens of blind indexes for a root. Both where its
 * row does not prove which it is.
 */
export async function keyUses(
  installation: Installation,
  runner: QueryRunner,
  key: CountedKey,
): Promise<ColumnUse[]> {
  const ofColumns = await columnUses(installation, runner, key);
  if (key.purpose === 'data' && key.provenIds === undefined) return ofColumns;
  // A root has no values under it, unless it is none.
  const needing = ofColumns.filter((use) => !isUnneeded([use]));
  return [...needing, ...(await indexUses(installation, runner, key.id))];
}
