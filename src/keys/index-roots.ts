import type { KeyRecord } from './key-record';
import type { IndexRoot } from './key-source';
import type { KeyWrapper } from './key-wrapper';

/** There is one line of index roots; its records still need a name. */
export const INDEX_ROOT_NAME = 'default';

/**
 * Unwraps the roots beside the active one, newest first. All of them or none: rows with tokens of a
 * root that is missing would silently not be found, and their duplicates let through.
 *
 * @throws whatever {@link KeyWrapper.unwrap} throws
 */
export async function otherRoots(
  wrapper: KeyWrapper,
  records: readonly KeyRecord[],
  heldByCaller?: unknown,
): Promise<IndexRoot[]> {
  const others = records
    .filter(({ purpose, state }) => purpose === 'index' && state !== 'active')
    .sort((a, b) => b.version - a.version);
  const unwrapped = await Promise.all(others.map((record) => wrapper.unwrap(record, heldByCaller)));
  return unwrapped.flatMap((root) => (root.purpose === 'index' ? [root.key] : []));
}
