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
  { id, purpose }: Pick<KeyRecord, 'id' | 'purpose'>,
): Promise<ColumnUse[]> {
  return purpose === 'data'
    ? columnUses(installation, runner, id)
    : indexUses(installation, runner, id);
}
