import { grouped } from '../../doctor/finding';
import type { KeyInfo } from '../../keys/record/key-info';
import { isOwnBranchName } from '../../keys/record/scope';
import type { Session } from '../load/session';
import type { CommandResult } from '../terminal/output';
import { table } from '../terminal/table';

/** Lists every data key, or every root of the blind indexes. */
export async function keysList(
  { fieldEncryption }: Session,
  { index }: { readonly index: boolean },
): Promise<CommandResult> {
  const keys = await (index ? fieldEncryption.keys.indexRoots() : fieldEncryption.keys.list());
  const none = `No ${index ? 'index roots' : 'data keys'}. See: field-encryption status`;
  return {
    document: { keys },
    text: keys.length === 0 ? none : keysTable(keys, { withPolicy: true }),
  };
}

/** Characters of the name of an own branch in a table: `branch:` and eight digits. */
const OWN_BRANCH_SHOWN = 15;

/** Formats a date to the minute; an edited row may not have one. */
export function dateText(date: Date): string {
  // Without seconds: a table is for 80 columns.
  return Number.isNaN(date.getTime()) ? '(no date)' : `${date.toISOString().slice(0, 16)}Z`;
}

/** Columns of {@link keysTable} that come from policies: those that are empty for all keys are left out. */
const POLICY_COLUMNS: readonly (readonly [string, (key: KeyInfo) => string])[] = [
  ['EXPIRES', ({ expiresAt }) => (expiresAt === null ? '' : dateText(expiresAt))],
  ['ROTATION', ({ nextRotationAt }) => (nextRotationAt === null ? '' : dateText(nextRotationAt))],
  ['OWNER', ({ owner }) => owner ?? ''],
  ['LEVEL', ({ securityLevel }) => securityLevel ?? ''],
];

/** Lays out the keys, one a line. */
export function keysTable(
  keys: readonly KeyInfo[],
  { withPolicy = false }: { readonly withPolicy?: boolean } = {},
): string {
  const policy = POLICY_COLUMNS.filter(
    ([, textOf]) => withPolicy && keys.some((key) => textOf(key) !== ''),
  );
  return table(
    ['KEY', 'STATE', 'ID', 'KMS', 'USES', 'CREATED', ...policy.map(([head]) => head)],
    keys.map((key) => [
      // As the audit log names it.
      `${key.purpose === 'index' ? 'index' : shortName(key.name)} v${String(key.version)}`,
      key.state,
      key.id,
      key.kms,
      grouped(key.useCount),
      dateText(key.createdAt),
      ...policy.map(([, textOf]) => textOf(key)),
    ]),
  );
}

/** Shortens the name of the branch of a scope with a KMS of its own, which ends with a hash: `--json` has all of it. */
function shortName(name: string): string {
  return isOwnBranchName(name) ? `${name.slice(0, OWN_BRANCH_SHOWN)}…` : name;
}

/** Names a key that has a name, and its version. */
export function keyTitle({
  name,
  version,
  id,
  purpose,
}: Pick<KeyInfo, 'name' | 'version' | 'id' | 'purpose'>): string {
  return `${purpose === 'signing' ? 'signing key' : 'key'} "${name}" version ${String(version)} (${id})`;
}
