import type { ColumnType, DataSource } from 'typeorm';

import type { Storage } from '../../format/field-ciphertext';

/** What differs in the values that databases hold, and their drivers take and return. */
export interface ValueRules {
  /** Whether NULL is sorted as the greatest value, or as the least. */
  readonly nullIsGreatest: boolean;
  /** Whether drivers return integers of 64 bits exactly, as text, or as numbers of JavaScript. */
  readonly hasExactIntegers: boolean;
  /** Whether a text or a parameter may have NUL in it. */
  readonly allowsNul: boolean;
  /** Whether a cell may hold a value of another type than its column's. */
  readonly hasTypedCells: boolean;
  /** The number of parameters that one statement may have. */
  maxParameters(dataSource: DataSource): Promise<number>;
  /** Whether TypeORM writes and reads dates without a zone in UTC, or in local time. */
  storesUtc(dataSource: DataSource): boolean;
  /** The type of a column of ciphertexts: of `length` characters at most, or without a limit. */
  columnType(storage: Storage, length: number | undefined): ColumnType;
  /**
   * The character set and collation under which texts are equal only if their bytes are; left out where a column
   * has such a one by default.
   */
  readonly exactText?: { readonly charset: string; readonly collation: string };
}
