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
  const none = `No ${index ? 'index roots' : 'data keys'}. See: field-encryption status`;
  return { document: { keys }, text: keys.length === 0 ? none : keysTable(keys) };
}

/** A row that was edited may have no date. */
export function dateText(date: Date): string {
  return Number.isNaN(date.getTime()) ? '(no date)' : date.toISOString();
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
      dateText(createdAt),
    ]),
  );
}
