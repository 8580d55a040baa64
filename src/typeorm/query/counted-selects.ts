import type { Installation } from '../installation';
import type { Expressions } from './any-query-builder';

/** The selections of a query with encrypted columns replaced by the primary key of their row. */
export function countedSelects(
  { aliases, selects }: Expressions,
  { encryptedEntity }: Installation,
): Expressions['selects'] {
  const replacements = new Map<string, Expressions['selects']>();
  for (const alias of aliases) {
    if (!alias.hasMetadata) continue;
    const { metadata, name } = alias;
    const key = metadata.primaryColumns.map(({ propertyPath }) => ({
      selection: `${name}.${propertyPath}`,
    }));
    for (const { column } of encryptedEntity(metadata)?.columns ?? []) {
      replacements.set(`${name}.${column.propertyPath}`, key);
    }
  }
  return selects.flatMap((select) => replacements.get(select.selection) ?? [select]);
}
