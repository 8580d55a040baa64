import type { EntityTarget, ObjectLiteral } from 'typeorm';

import type { BlindIndex } from './field/blind-index';
import { encryptedProperty } from './stored-values';
import type { ValueOptions } from './stored-values';
import type { Installation } from './typeorm/installation/installation';
import { noteUseInTurn } from './typeorm/installation/value-use';
import { indexNamed } from './typeorm/metadata/index-columns';
import { withIndexKeys } from './typeorm/query/lookup/index-keys';
import { insertedRow } from './typeorm/query/write/written-row';

/** The index of a property that tokens are wanted of, and whether keys may be created for them. */
interface TokenOptions extends ValueOptions {
  readonly indexName: string | undefined;
  readonly creates: boolean;
}

/** Makes tokens of an index, of the scope of a row if it has keys of that. */
export async function withIndex<T>(
  installation: Installation,
  of: { readonly entity: EntityTarget<ObjectLiteral>; readonly property: string },
  { indexName, creates, manager, row = {} }: TokenOptions,
  make: (index: BlindIndex) => T,
): Promise<T> {
  const encrypted = encryptedProperty(installation, of.entity, of.property);
  const indexed = indexNamed(encrypted, indexName);
  await noteUseInTurn(manager?.queryRunner, installation, encrypted, 'lookup');
  return withIndexKeys(installation, encrypted, indexed, {
    ...{ row: insertedRow(row), queryRunner: manager?.queryRunner, creates },
    work: () => make(indexed.index),
  });
}
