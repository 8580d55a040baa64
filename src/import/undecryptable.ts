import { DecryptionError } from '../errors';

/**
 * One value does not decrypt. The caller adds entity and property in front.
 *
 * @param format - the name of the format
 * @param why - a clause, without anything of the value
 */
export function undecryptable(format: string, why: string, remedy: string): DecryptionError {
  return new DecryptionError(`a value of ${format} ${why}. ${remedy}`);
}
