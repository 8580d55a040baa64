import { getMetadataArgsStorage } from 'typeorm';
import type { ColumnOptions, EntityMetadata, ValueTransformer } from 'typeorm';
import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';

import { ConfigurationError } from '../../errors';

import { tokenChars } from './column-options';
import type { BlindIndexOptions, EncryptedOptions } from './column-options';
import { defined } from './option-rules';

const REMEDY =
  'wrap it with withFieldEncryption(dataSource, options) before initialize(), so that the column is encrypted.';

/** Marks all guards, and the `query` options that hold them, for all copies of this library. */
const GUARD = Symbol.for('typeorm-field-encryption:guard');

export const ONE_COPY =
  'Have one copy of typeorm-field-encryption: "npm ls typeorm-field-encryption" shows them, and "npm dedupe" removes what is double.';

/** Design type of a property whose compiler emits no decorator metadata. */
export const NOT_EMITTED = Symbol('no decorator metadata');

/**
 * The transformer that marks an encrypted column, and carries its options until `initialize()`.
 *
 * In a DataSource that is not wrapped it stays, and refuses every value: forgetting the wrapper must not
 * store cleartext.
 */
export class EncryptedColumnGuard implements ValueTransformer {
  readonly [GUARD] = this;

  constructor(
    readonly options: EncryptedOptions,
    /** Design type of a decorated property, or {@link NOT_EMITTED}. */
    readonly designType?: unknown,
    /** Whether the property has another column decorator. */
    readonly conflicts: boolean = false,
  ) {}

  to(): never {
    return refuse('an encrypted column');
  }

  from(): never {
    return refuse('an encrypted column');
  }
}

/** The transformer that marks the hidden column of a blind index; see {@link EncryptedColumnGuard}. */
export class BlindIndexColumnGuard implements ValueTransformer {
  readonly [GUARD] = this;

  constructor(
    /** Name of the encrypted property, in the same class or embedded. */
    readonly sourceProperty: string,
    readonly options: BlindIndexOptions,
    /** Whether another index of the property has the same name. */
    readonly conflicts: boolean = false,
  ) {}

  to(): never {
    return refuse('a blind-index column');
  }

  from(): never {
    return refuse('a blind-index column');
  }
}

export type ColumnGuard = EncryptedColumnGuard | BlindIndexColumnGuard;

/**
 * Returns the options that mark a column, twice: `{ ...encryptedColumn(), transformer }` replaces the guard,
 * and the column must still be known. `query` is the only other option that TypeORM copies from an
 * EntitySchema to the metadata unchanged, and it calls it only for virtual properties.
 */
function markedBy(guard: ColumnGuard): Pick<ColumnOptions, 'transformer' | 'query'> {
  const query = (): never => guard.to();
  return { transformer: guard, query: Object.assign(query, { [GUARD]: guard }) };
}

/** The options of a column that may mark it. */
type Marks = Pick<ColumnMetadata | ColumnOptions, 'transformer' | 'query'>;

/** Returns the guard of a marked column, even if it is no longer its transformer. */
export function guardOf(column: Marks): ColumnGuard | undefined {
  return guardsOf(column).find(
    (guard) => guard instanceof EncryptedColumnGuard || guard instanceof BlindIndexColumnGuard,
  );
}

/** Whether another copy of this library has marked the column. */
export function isMarkedByOther(column: Marks): boolean {
  return guardOf(column) === undefined && guardsOf(column).length > 0;
}

function guardsOf({ transformer, query }: Marks): unknown[] {
  return [transformer, query].flatMap((mark: unknown) => {
    const isObject = typeof mark === 'object' || typeof mark === 'function';
    const guard: unknown = isObject && mark !== null ? Reflect.get(mark, GUARD) : undefined;
    return guard === undefined ? [] : [guard];
  });
}

/**
 * Returns the properties whose `@Encrypted` TypeORM has ignored: of two columns of one property it takes the
 * first, and a base class comes before the class that overrides the property.
 */
export function overlookedGuardProperties(metadata: EntityMetadata): string[] {
  const guarded = getMetadataArgsStorage().columns.filter(
    ({ options }) => guardOf(options) instanceof EncryptedColumnGuard,
  );
  return metadata.columns
    .filter(({ propertyName, target, embeddedMetadata }) => {
      const marks = guarded.filter((args) => args.propertyName === propertyName);
      if (marks.some((args) => args.target === target)) return false;
      const owner: unknown = embeddedMetadata?.type ?? metadata.target;
      return marks.some((args) => isOrExtends(owner, args.target));
    })
    .map(({ propertyPath }) => propertyPath);
}

function isOrExtends(owner: unknown, target: unknown): boolean {
  if (typeof owner !== 'function' || typeof target !== 'function') return false;
  return owner === target || owner.prototype instanceof target;
}

/** Columns that a guard has marked until it was removed. */
const unmarked = new WeakSet<ColumnMetadata>();

/** Whether a column is encrypted or holds tokens, with or without its guard. */
export function isMarked(column: ColumnMetadata): boolean {
  return guardOf(column) !== undefined || unmarked.has(column);
}

/**
 * Removes the guard of a column. Not with `delete`, after which V8 would keep the metadata as a dictionary,
 * and TypeORM reads it for every value.
 */
export function removeGuard(column: ColumnMetadata): void {
  unmarked.add(column);
  Object.assign(column, { transformer: undefined, query: undefined });
}

/** Returns the error of a DataSource that was not wrapped. */
export function unprotectedDataSource(entity: string, property: string): ConfigurationError {
  return new ConfigurationError(
    `${entity}.${property} is encrypted, but this DataSource does not encrypt: ${REMEDY}`,
    { entity, property },
  );
}

function refuse(what: string): never {
  throw new ConfigurationError(`${what} is used by a DataSource that does not encrypt: ${REMEDY}`);
}

/** Returns TypeORM's options of an encrypted column, until `initialize()` sets what depends on the driver. */
export function encryptedColumnOptions(guard: EncryptedColumnGuard): ColumnOptions {
  const { nullable, name, select, insert, update, comment, length } = guard.options;
  return {
    ...defined({ nullable, name, select, insert, update, comment }),
    ...(length === undefined ? { type: 'text' } : { type: 'varchar', length }),
    ...markedBy(guard),
  };
}

/** Returns TypeORM's options of an index column. Nullable, as NULL has no token and rows may predate the index. */
export function blindIndexColumnOptions(guard: BlindIndexColumnGuard): ColumnOptions {
  return {
    ...defined({ name: guard.options.columnName }),
    type: 'varchar',
    length: tokenChars(guard.options),
    nullable: true,
    select: false,
    ...markedBy(guard),
  };
}
