import type { ColumnOptions, EntitySchemaColumnOptions } from 'typeorm';
import { BlindIndexColumnGuard, EncryptedColumnGuard, markedBy } from './column-guard';
import { indexPropertyName, tokenChars } from './column-options';
import type { BlindIndexOptions, EncryptedOptions } from './column-options';
import { refuseUnprotectedUse } from './unprotected-use';

refuseUnprotectedUse();

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

/** TypeORM's view of an encrypted column until the take-over settles what depends on the driver. */
export function encryptedColumnOptions(guard: EncryptedColumnGuard): ColumnOptions {
  const { nullable, name, select, insert, update, comment, length } = guard.options;
  return {
    ...definedOnly({ nullable, name, select, insert, update, comment }),
    ...(length === undefined ? { type: 'text' } : { type: 'varchar', length }),
    ...markedBy(guard),
  };
}

/** TypeORM's view of an index column. Nullable, since NULL has no token and rows may predate the index. */
export function blindIndexColumnOptions(guard: BlindIndexColumnGuard): ColumnOptions {
  return {
    ...definedOnly({ name: guard.options.columnName }),
    type: 'varchar',
    length: tokenChars(guard.options),
    nullable: true,
    select: false,
    ...markedBy(guard),
  };
}

function schemaColumn(options: ColumnOptions): EntitySchemaColumnOptions {
  return options as EntitySchemaColumnOptions;
}

function definedOnly<T extends object>(options: T): { [K in keyof T]?: NonNullable<T[K]> } {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: NonNullable<T[K]>;
  };
}
