import { FieldEncryptionError } from './errors';

/** A value that could not be encrypted or decrypted, by its index. */
export interface ValueFailure {
  readonly index: number;
  readonly error: FieldEncryptionError;
}

/** Results for an array, with `undefined` in place of those that failed. */
export interface ValueResults<T> {
  readonly values: (T | undefined)[];
  readonly failures: readonly ValueFailure[];
}

/** Applies `work` to each element, and lists those that fail. */
export function valueResults<T>(
  values: readonly unknown[],
  work: (value: unknown, index: number) => T,
): ValueResults<T> {
  const failures: ValueFailure[] = [];
  const results = values.map((value, index) => {
    try {
      return work(value, index);
    } catch (error) {
      if (!(error instanceof FieldEncryptionError)) throw error;
      failures.push({ index, error });
      return undefined;
    }
  });
  return { values: results, failures };
}

/** Returns the result for the only element, or throws its error. */
export function onlyResult<T>({ values, failures }: ValueResults<T>): T | undefined {
  if (failures[0] !== undefined) throw failures[0].error;
  return values[0];
}
