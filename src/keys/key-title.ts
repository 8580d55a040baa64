import type { KeyPurpose, KeyRecord } from './key-record';

const KINDS: Readonly<Partial<Record<KeyPurpose, string>>> = {
  index: 'index root',
  audit: 'audit key',
};

/** Names a key in a message, and says what it is where it is no data key. */
export function keyTitle({
  id,
  name,
  purpose,
  version,
}: Pick<KeyRecord, 'id' | 'name' | 'purpose' | 'version'>): string {
  const kind = KINDS[purpose];
  return kind === undefined
    ? `key ${id} ("${name}" version ${String(version)})`
    : `${kind} ${id} (version ${String(version)})`;
}

/** Names what the versions of a key have in common. */
export function nameTitle(purpose: KeyPurpose, name: string): string {
  return KINDS[purpose] ?? `data key "${name}"`;
}
