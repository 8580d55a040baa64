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
 * The {@link Encrypted} of `EntitySchema` definitions. There is no design type to read, so `type`
 * defaults to `'string'`.
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
 * The {@link BlindIndex} of `EntitySchema` definitions: the hidden columns of the indexes of one
 * property, to be spread into `columns`. Without options, one exact index.
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
