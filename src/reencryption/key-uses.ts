import type { QueryRunner } from 'typeorm';
import type { KeyRecord } from '../keys/key-record';
import type { ColumnUse } from '../keys/key-retirement';
import type { Installation } from '../typeorm/installation';
import { indexUses } from './index-uses';
import { columnUses } from './status';

/** What still needs a key: rows of encrypted columns, or tokens of blind indexes for a root. */
export function keyUses(
  installation: Installation,
  runner: QueryRunner,
  key: Pick<KeyRecord, 'id' | 'name' | 'purpose'>,
): Promise<ColumnUse[]> {
  return key.purpose === 'data'
    ? columnUses(installation, runner, key)
    : indexUses(installation, runner, key.id);
}
