import { KeyStateError } from '../errors';
import type { KeyPurpose, KeyRecord } from './key-record';
import { nameTitle } from './key-title';

/** There are versions of a key, and an operator has taken the one that encrypted out of use. */
export class NoActiveKeyError extends KeyStateError {
  override readonly name = 'KeyStateError';
}

/** Says why nothing can be encrypted under a name that has these versions, and what to do about it. */
export function noActiveKey(
  purpose: KeyPurpose,
  name: string,
  versions: readonly KeyRecord[],
): NoActiveKeyError {
  const title = nameTitle(purpose, name);
  const suspended = versions.filter(({ state }) => state === 'suspended');
  const [latest] = suspended.sort((a, b) => b.version - a.version);
  if (latest !== undefined) {
    return new NoActiveKeyError(
      `${title}: version ${String(latest.version)} is suspended, nothing is encrypted with it. ` +
        `Resume key ${latest.id}, or rotate.`,
      { keyId: latest.id },
    );
  }
  return new NoActiveKeyError(
    `${title}: none of its ${String(versions.length)} versions is active, nothing can be ` +
      'encrypted with it. Rotate the key, or restore its active row.',
  );
}
