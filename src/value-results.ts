import { FieldEncryptionError } from './errors';

/** A value that could not be encrypted or decrypted, by its index. */
export interface ValueFailure {
  readonly index: number;
  readonly error: FieldEncryptionError;
}

/** Result over an array: `undefined` stands where an element failed. */
export interface ValueResults<T> {
  readonly values: (T | undefined)[];
  readonly failures: readonly ValueFailure[];
}

/** Does the same to each element; those that fail are listed, and the rest is done. */
export function valueResults<T>(
  values: readonly unknown[],
  work: (value: unknown) => T,
): ValueResults<T> {
  const failures: ValueFailure[] = [];
  const results = values.map((value, index) => {
    try {
      return work(value);
    } catch (error) {
      if (!(error instanceof FieldEncryptionError)) throw error;
      failures.push({ index, error });
      return undefined;
    }
  });
  return { values: results, failures };
}
