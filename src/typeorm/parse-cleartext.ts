import type { FieldPolicy } from '../field/field-policy';

/** Reads what was not written by this library as the declared type; `undefined` where it is not of it. */
export function parseCleartext({ type }: FieldPolicy, cleartext: string | Uint8Array): unknown {
  if (type === 'bytes') {
    return typeof cleartext === 'string' ? Buffer.from(cleartext, 'utf8') : Buffer.from(cleartext);
  }
  const text = typeof cleartext === 'string' ? cleartext : Buffer.from(cleartext).toString('utf8');
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
