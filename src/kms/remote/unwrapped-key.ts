import { wipe } from '../../crypto/wipe';
import { KeyUnwrapError } from '../../errors';

const KEY_BYTES = 32;

/**
 * A copy of the key that a KMS unwrapped; the bytes given are wiped.
 *
 * @param who - the provider, such as `awsKms`
 * @throws {@link KeyUnwrapError} for anything but 32 bytes
 */
export function unwrappedKey(who: string, bytes: unknown): Uint8Array {
  const isKey = bytes instanceof Uint8Array || Buffer.isBuffer(bytes);
  const copy = isKey && bytes.length === KEY_BYTES ? Uint8Array.from(bytes) : undefined;
  if (isKey) wipe(bytes);
  if (copy !== undefined) return copy;
  throw new KeyUnwrapError(`${who}: what the KMS unwrapped is not a data key of 32 bytes.`);
}
