import type { KeyInfo } from '../../keys/key-info';
import type { CommandResult } from '../output';
import type { Session } from '../session';
import { grouped, table } from '../table';

/** Lists every data key. */
export async function keysList({ fieldEncryption }: Session): Promise<CommandResult> {
  const keys = await fieldEncryption.keys.list();
  return {
    document: { keys },
    text: keys.length === 0 ? 'No data keys. Run: field-encryption init' : keysTable(keys),
  };
}

/** The data keys, one a line. */
export function keysTable(keys: readonly KeyInfo[]): string {
  return table(
    ['KEY', 'VERSION', 'STATE', 'ID', 'SUITE', 'KMS', 'USES', 'CREATED'],
    keys.map(({ name, version, state, id, suite, kms, useCount, createdAt }) => [
      name,
      String(version),
      state,
      id,
      suite,
      kms,
      grouped(useCount),
      createdAt.toISOString(),
    ]),
  );
}
