import type { ColumnType, DataSource } from 'typeorm';

import type { Storage } from '../../format/field-ciphertext';

/** A character set, and how its texts compare. */
export interface TextForm {
  readonly charset: string;
  readonly collation: string;
}

/** `+02:00` or the like, `Z` for UTC, or the local time of this process. */
export type Zone = `${'+' | '-'}${string}` | 'Z' | 'local';

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
  /** The zone of dates without one, as TypeORM writes and reads them: an offset from UTC, or local time. */
  zone(dataSource: DataSource): Zone;
  /** The type of a column of ciphertexts: of `length` characters at most, or without a limit. */
  columnType(storage: Storage, length: number | undefined): ColumnType;
  /** The most bytes that texts of a type have; spaces beyond them are cut off. Left out where no type has such a limit. */
  readonly textBytes?: Readonly<Record<string, number>>;
  /**
   * The character set and collation under which texts are equal only if their bytes are; left out where a column
   * has such a one by default.
   */
  readonly exactText?: TextForm;
  /** The same for ciphertexts: their columns also hold cleartext, before it is encrypted and when it is decrypted. */
  readonly exactCleartext?: TextForm;
}
