import type { ValueType } from '../encoding/value-codec';
import type { Storage } from '../format/field-ciphertext';

/** Values above 16 MiB are refused unless a policy says otherwise. */
export const DEFAULT_MAX_VALUE_BYTES = 16 * 1024 * 1024;

/** The settled rules of one encrypted field; checked once, when it is made, and frozen. */
export interface FieldPolicy {
  /** Name of the entity, for messages. */
  readonly entity: string;
  /** Property path within the entity, for messages. */
  readonly property: string;
  /** Logical id bound into every ciphertext and index key; outlives renamed classes and columns. */
  readonly fieldId: string;
  readonly type: ValueType;
  readonly storage: Storage;
  /** Name of the data key that encrypts new values. */
  readonly keyName: string;
  /** Longest encoded value in bytes. */
  readonly maxValueBytes: number;
  /** Width of the column in characters (text) or bytes (binary), where it is limited. */
  readonly columnLength: number | undefined;
}
