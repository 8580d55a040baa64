import type { ValueType } from '../../src/encoding/value-codec';

/** The values in test/vectors/format-1.json by name; most have no form in JSON. Append only. */
export const FORMAT_1_VALUES: Readonly<
  Record<string, { readonly type: ValueType; readonly value: unknown }>
> = {
  empty: { type: 'string', value: '' },
  text: { type: 'string', value: 'Ada Lovelace \u0000 ẞ \u{1f600}' },
  email: { type: 'string', value: ' Ada@Example.ORG' },
  ssn: { type: 'string', value: '078-05-1120' },
  zero: { type: 'number', value: 0 },
  negativeZero: { type: 'number', value: -0 },
  notANumber: { type: 'number', value: NaN },
  infinity: { type: 'number', value: -Infinity },
  fraction: { type: 'number', value: 0.1 },
  bigint: { type: 'bigint', value: -(2n ** 100n) },
  yes: { type: 'boolean', value: true },
  no: { type: 'boolean', value: false },
  date: { type: 'date', value: new Date('1815-12-10T00:00:00.000Z') },
  json: { type: 'json', value: { visits: [{ at: 1, note: 'ok' }, null], ['é']: -0 } },
  jsonText: { type: 'json', value: 'text' },
  noBytes: { type: 'bytes', value: Buffer.alloc(0) },
  bytes: { type: 'bytes', value: Buffer.from('00ff10', 'hex') },
};
