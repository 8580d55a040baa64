import { KeyStateError } from '../errors';
import type { KeyRecord } from './key-record';

/** There are versions of a key, and an operator has taken the one that encrypted out of use. */
export class NoActiveKeyError extends KeyStateError {
  override readonly name = 'KeyStateError';
}

/** Says why nothing can be encrypted under a name that has these versions, and what to do about it. */
export function noActiveKey(name: string, versions: readonly KeyRecord[]): NoActiveKeyError {
  const suspended = versions.filter(({ state }) => state === 'suspended');
  const [latest] = suspended.sort((a, b) => b.version - a.version);
  if (latest !== undefined) {
    return new NoActiveKeyError(
      `key "${name}": version ${String(latest.version)} is suspended, nothing is encrypted with it. ` +
        `Resume key ${latest.id}, or rotate.`,
      { keyId: latest.id },
    );
  }
  return new NoActiveKeyError(
    `key "${name}": none of its ${String(versions.length)} versions is active, nothing can be ` +
      'encrypted with it. Rotate the key, or restore its active row.',
  );
}
