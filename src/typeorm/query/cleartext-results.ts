import type { Installation } from '../installation';
import type { Expressions } from './any-query-builder';
import { isCleartextParameter } from './raw-use';

/**
 * Sends a query past TypeORM's query cache where its result or its parameters may hold values in
 * clear: the cache keeps both, and long after the rows have been encrypted.
 */
export function withoutCaching<T>(
  expressions: Expressions,
  installation: Installation,
  load: () => Promise<T>,
): Promise<T> {
  const { cache } = expressions;
  if (cache === false || !mayHoldCleartext(expressions, installation)) return load();
  try {
    expressions.cache = false;
    // Whether to use the cache is settled before it waits for anything.
    return load();
  } finally {
    Object.assign(expressions, { cache });
  }
}

function mayHoldCleartext(
  { aliases, parameters }: Expressions,
  { encryptedEntity, options }: Installation,
): boolean {
  if (options.legacyPlaintext === undefined) return false;
  for (const alias of aliases) {
    const entity = alias.hasMetadata ? encryptedEntity(alias.metadata) : undefined;
    if (entity?.columns.some(({ readsPlaintext }) => readsPlaintext) === true) return true;
  }
  return Object.keys(parameters).some(isCleartextParameter);
}
