import type { EntityMetadata } from 'typeorm';

import type { Installation } from '../../installation/installation';
import { queryRefused } from '../../metadata/encrypted-column';
import type { EncryptedColumn } from '../../metadata/encrypted-column';

/**
 * Refuses find options that sort by an encrypted property, in the terms of these: the ORDER BY that TypeORM
 * makes of them would be told as SQL, which the application has not written.
 *
 * @throws {@link UnsupportedQueryError}
 */
export function assertFindOrder(
  order: unknown,
  metadata: EntityMetadata,
  installation: Installation,
): void {
  const encrypted = sortedBy(order, metadata, installation, '');
  if (encrypted === undefined) return;
  throw queryRefused(
    encrypted,
    'is encrypted and stands in the find option "order", and ciphertexts have no order that means anything. ' +
      'Use fieldEncryption(dataSource).sorted(), which sorts after decryption, as docs/recipes.md shows.',
  );
}

/** Returns the first encrypted property of an order, which nests embedded entities and relations. */
function sortedBy(
  order: unknown,
  metadata: EntityMetadata,
  installation: Installation,
  prefix: string,
): EncryptedColumn | undefined {
  if (typeof order !== 'object' || order === null) return undefined;
  const { byPropertyPath } = installation.encryptedEntity(metadata) ?? {};
  for (const [name, nested] of Object.entries(order) as [string, unknown][]) {
    const path = prefix + name;
    const encrypted = byPropertyPath?.get(path);
    if (encrypted !== undefined && nested !== undefined) return encrypted;
    const related = metadata.findRelationWithPropertyPath(path)?.inverseEntityMetadata;
    const within =
      related === undefined
        ? sortedBy(nested, metadata, installation, `${path}.`)
        : sortedBy(nested, related, installation, '');
    if (within !== undefined) return within;
  }
  return undefined;
}
