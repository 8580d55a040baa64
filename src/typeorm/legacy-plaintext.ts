import { UnsupportedValueError } from '../errors';
import type { FieldPolicy } from '../field/field-policy';

/**
 * Reads a cleartext row of a column that is being encrypted, as its declared type.
 *
 * @throws {@link UnsupportedValueError} when it does not hold that type.
 */
export function readLegacyPlaintext(policy: FieldPolicy, stored: unknown): unknown {
  const value = parse(policy, stored);
  if (value !== undefined) return value;
  const { entity, property, type } = policy;
  throw new UnsupportedValueError(
    `${entity}.${property}: a cleartext row does not hold a ${type}. Correct the row.`,
    { entity, property },
  );
}

/** `undefined` where the cleartext is not of the type. */
function parse({ type }: FieldPolicy, stored: unknown): unknown {
  if (type === 'bytes') {
    return typeof stored === 'string'
      ? Buffer.from(stored, 'utf8')
      : Buffer.from(stored as Uint8Array);
  }
  const text =
    typeof stored === 'string' ? stored : Buffer.from(stored as Uint8Array).toString('utf8');
  switch (type) {
    case 'string':
      return text;
    case 'number':
      return text.trim() === '' || Number.isNaN(Number(text)) ? undefined : Number(text);
    case 'bigint':
      return /^-?\d+$/.test(text) ? BigInt(text) : undefined;
    case 'boolean':
      return parseBoolean(text);
    case 'date': {
      const date = new Date(text);
      return Number.isNaN(date.getTime()) ? undefined : date;
    }
    case 'json':
      return parseJson(text);
  }
}

function parseBoolean(text: string): boolean | undefined {
  if (/^(?:t|true|1)$/i.test(text)) return true;
  return /^(?:f|false|0)$/i.test(text) ? false : undefined;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
