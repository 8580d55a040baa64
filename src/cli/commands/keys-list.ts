import { grouped } from '../../doctor/counted';
import type { KeyInfo } from '../../keys/key-info';
import type { CommandResult } from '../output';
import type { Session } from '../session';
import { table } from '../table';

/** Lists every data key, or every root of the blind indexes. */
export async function keysList(
  { fieldEncryption }: Session,
  { index }: { readonly index: boolean },
): Promise<CommandResult> {
  const keys = await (index ? fieldEncryption.keys.indexRoots() : fieldEncryption.keys.list());
  const none = `No ${index ? 'index roots' : 'data keys'}. Run: field-encryption init`;
  return { document: { keys }, text: keys.length === 0 ? none : keysTable(keys) };
}

/** The keys, one a line. */
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
      // A row that was edited may have none.
      Number.isNaN(createdAt.getTime()) ? '(no date)' : createdAt.toISOString(),
    ]),
  );
}
