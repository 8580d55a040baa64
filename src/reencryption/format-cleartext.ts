import type { FieldPolicy } from '../field/field-policy';
import { parseCleartext } from '../typeorm/parse-cleartext';

/**
 * A value as cleartext of its column, the inverse of reading cleartext; `undefined` where it would
 * not come back the same: bytes that are not text in a text column, or text that reads as a ciphertext.
 */
export function formatCleartext(policy: FieldPolicy, value: unknown): string | Buffer | undefined {
  if (policy.type === 'bytes') return formatBytes(policy, value as Buffer);
  const text = formatText(policy, value);
  if (policy.type === 'number' && !Object.is(parseCleartext(policy, text), value)) return undefined;
  return policy.storage === 'text' ? text : Buffer.from(text, 'utf8');
}

function formatText({ type }: FieldPolicy, value: unknown): string {
  switch (type) {
    case 'json':
      return JSON.stringify(value);
    case 'date':
      return (value as Date).toISOString();
    default:
      return String(value);
  }
}

function formatBytes({ storage }: FieldPolicy, value: Buffer): string | Buffer | undefined {
  if (storage === 'binary') return value;
  const text = value.toString('utf8');
  return Buffer.from(text, 'utf8').equals(value) ? text : undefined;
}
