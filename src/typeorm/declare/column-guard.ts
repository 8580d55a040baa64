import { getMetadataArgsStorage } from 'typeorm';
import type { ColumnOptions, EntityMetadata, ValueTransformer } from 'typeorm';
import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';
import { ConfigurationError } from '../../errors';
import { tokenChars } from './column-options';
import type { BlindIndexOptions, EncryptedOptions } from './column-options';

const REMEDY =
  'wrap it with withFieldEncryption(dataSource, options) before initialize(), so that the column is encrypted.';

/** Of all guards and of the `query` options that mark with them, for all copies of this library. */
const GUARD = Symbol.for('typeorm-field-encryption:guard');

export const ONE_COPY =
  'Have one copy of typeorm-field-encryption: "npm ls typeorm-field-encryption" shows them, and "npm dedupe" removes what is double.';

/**
 * The transformer that marks an encrypted column and carries its options to the take-over.
 *
 * A DataSource that never met `withFieldEncryption` keeps it, and every value that passes is
 * refused: forgetting the wrapper must not store cleartext.
 */
export class EncryptedColumnGuard implements ValueTransformer {
  readonly [GUARD] = this;

  constructor(
    readonly options: EncryptedOptions,
    /** Design type of the property as the compiler emitted it, where it did. */
    readonly designType?: unknown,
    /** Another column decorator stands on the same property. */
    readonly conflicts: boolean = false,
  ) {}

  to(): never {
    return refuse('an encrypted column');
  }

  from(): never {
    return refuse('an encrypted column');
  }
}

/** Marks the hidden column of a blind index; see {@link EncryptedColumnGuard}. */
export class BlindIndexColumnGuard implements ValueTransformer {
  readonly [GUARD] = this;

  constructor(
    /** Name of the encrypted property beside it, within the same class or embedded. */
    readonly sourceProperty: string,
    readonly options: BlindIndexOptions,
    /** Another index of the property has the same name. */
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
 * The options that mark a column, twice: `{ ...encryptedColumn(), transformer }` takes the guard away,
 * and the column must be known nevertheless. `query` is the one other option that TypeORM copies from
 * an EntitySchema to the metadata as it is, and it calls it for virtual properties only.
 */
function markedBy(guard: ColumnGuard): Pick<ColumnOptions, 'transformer' | 'query'> {
  const query = (): never => guard.to();
  return { transformer: guard, query: Object.assign(query, { [GUARD]: guard }) };
}

/** The options of a column that may mark it. */
type Marks = Pick<ColumnMetadata | ColumnOptions, 'transformer' | 'query'>;

/** The guard of a marked column, whether it is still its transformer or not. */
export function guardOf(column: Marks): ColumnGuard | undefined {
  return guardsOf(column).find(
    (guard) => guard instanceof EncryptedColumnGuard || guard instanceof BlindIndexColumnGuard,
  );
}

/** Whether another copy of this library has marked the column, which this one knows nothing of. */
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
 * Properties whose `@Encrypted` TypeORM has passed over: of two columns of one property it takes the
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

const takenOff = new WeakSet<ColumnMetadata>();

/** Whether a column is encrypted or holds tokens, before and after the take-over. */
export function isMarked(column: ColumnMetadata): boolean {
  return guardOf(column) !== undefined || takenOff.has(column);
}

/**
 * Takes a guard off its column. Not with `delete`, which would turn the metadata into a dictionary
 * for V8, and TypeORM reads them for every value.
 */
export function removeGuard(column: ColumnMetadata): void {
  takenOff.add(column);
  Object.assign(column, { transformer: undefined, query: undefined });
}

/** The error of a DataSource that was not wrapped. */
export function unprotectedDataSource(entity: string, property: string): ConfigurationError {
  return new ConfigurationError(
    `${entity}.${property} is encrypted, but this DataSource does not encrypt: ${REMEDY}`,
    { entity, property },
  );
}

function refuse(what: string): never {
  throw new ConfigurationError(`${what} is used by a DataSource that does not encrypt: ${REMEDY}`);
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

function definedOnly<T extends object>(options: T): { [K in keyof T]?: NonNullable<T[K]> } {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: NonNullable<T[K]>;
  };
}
