import type { ColumnOptions, EntitySchemaColumnOptions } from 'typeorm';

import {
  BlindIndexColumnGuard,
  blindIndexColumnOptions,
  EncryptedColumnGuard,
  encryptedColumnOptions,
} from './declare/column-guard';
import { indexPropertyName } from './declare/column-options';
import type { BlindIndexOptions, EncryptedOptions } from './declare/column-options';
import { refuseUnprotectedUse } from './patches/unprotected-use';

/**
 * Returns an encrypted column for an `EntitySchema`, as {@link Encrypted} does for a class. There is no
 * design type, so `type` defaults to `'string'`.
 *
 * @example
 * ```ts
 * new EntitySchema<Patient>({
 *   name: 'Patient',
 *   columns: {
 *     id: { type: 'uuid', primary: true, generated: 'uuid' },
 *     email: encryptedColumn(),
 *     ...blindIndexColumns('email', { normalize: 'email', unique: true }),
 *   },
 * });
 * ```
 */
export function encryptedColumn(options: EncryptedOptions = {}): EntitySchemaColumnOptions {
  refuseUnprotectedUse();
  return schemaColumn(encryptedColumnOptions(new EncryptedColumnGuard(options)));
}

/**
 * Returns the hidden columns of a property's blind indexes for an `EntitySchema`, as {@link BlindIndex} does
 * for a class: spread them into `columns`. Without options, there is one exact index.
 */
export function blindIndexColumns(
  property: string,
  ...indexes: BlindIndexOptions[]
): Record<string, EntitySchemaColumnOptions> {
  refuseUnprotectedUse();
  const all = indexes.length === 0 ? [{}] : indexes;
  const names = all.map((options) => indexPropertyName(property, options));
  return Object.fromEntries(
    all.map((options, i) => {
      const name = indexPropertyName(property, options);
      const conflicts = names.indexOf(name) !== i;
      const guard = new BlindIndexColumnGuard(property, options, conflicts);
      return [name, schemaColumn(blindIndexColumnOptions(guard))];
    }),
  );
}

function schemaColumn(options: ColumnOptions): EntitySchemaColumnOptions {
  return options as EntitySchemaColumnOptions;
}
