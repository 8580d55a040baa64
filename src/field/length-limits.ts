import { unsupportedValue } from './field-errors';
import type { FieldPolicy } from './field-policy';

/** @throws {@link UnsupportedValueError} for a value of more bytes than the policy allows */
export function requireValueLength(policy: FieldPolicy, bytes: number): void {
  const { maxValueBytes } = policy;
  if (bytes <= maxValueBytes) return;
  const sizes = `${String(bytes)} bytes, the limit is ${String(maxValueBytes)}`;
  throw unsupportedValue(policy, `the value takes ${sizes}`);
}

/** @throws {@link UnsupportedValueError} for a ciphertext that is longer than its column holds */
export function requireColumnLength(policy: FieldPolicy, needed: number): void {
  const { columnLength, storage } = policy;
  if (columnLength === undefined || needed <= columnLength) return;
  const unit = storage === 'text' ? 'characters' : 'bytes';
  const sizes = `${String(needed)} ${unit}, the column holds ${String(columnLength)}`;
  throw unsupportedValue(policy, `the ciphertext takes ${sizes}`);
}
