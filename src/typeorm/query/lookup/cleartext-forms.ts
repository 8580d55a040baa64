import { UnsupportedValueError } from '../../../errors';
import type { BlindIndex } from '../../../field/blind-index';
import { coerced } from '../../../field/coercion';
import { readLegacyPlaintext, zoneOf } from '../../codec/cleartext';
import { zonedDate } from '../../codec/zoned-date';
import { dialectOf } from '../../dialect/dialect-of';
import type { Zone } from '../../dialect/value-rules';
import type { EncryptedColumn } from '../../metadata/encrypted-column';

/**
 * Returns the forms that a value of the column's type may have in a cleartext row: those that databases and
 * TypeORM give its type, and of a string the value and its normalized form. Only forms that are read back as
 * the value.
 */
export function cleartextForms(
  encrypted: EncryptedColumn,
  index: BlindIndex,
  given: unknown,
): unknown[] {
  const { column, policy } = encrypted;
  const value = coerced(policy, given);
  const { allowsNul, hasTypedCells } = dialectOf(column.entityMetadata.connection).values;
  const texts = [...new Set(textForms(encrypted, index, value))].filter(
    (text) => allowsNul || !text.includes('\0'),
  );
  const forms: unknown[] =
    policy.storage === 'text' ? texts : [...(hasTypedCells ? texts : []), ...bytesOf(texts)];
  if (policy.storage === 'binary' && policy.type === 'bytes') {
    forms.push(Buffer.from(value as Uint8Array));
  }
  return forms.filter((form) => readsAs(encrypted, index, form, value));
}

function textForms(
  { column, policy }: EncryptedColumn,
  index: BlindIndex,
  value: unknown,
): string[] {
  switch (policy.type) {
    case 'string':
      return [String(value), String(index.comparable(value))];
    case 'number':
      // SQLite adds `.0` to a whole REAL.
      return [String(value), `${String(value)}.0`];
    case 'boolean':
      return value === true ? ['true', 't', '1'] : ['false', 'f', '0'];
    case 'date':
      return dateForms(value as Date, zoneOf(column));
    case 'bytes':
      return [Buffer.from(value as Uint8Array).toString('utf8')];
    default:
      return [String(value)];
  }
}

/** Returns ISO 8601 and the forms of databases, with and without trailing zeros and the zone: in UTC, or another one. */
function dateForms(value: Date, zone: Zone): string[] {
  const { offset } = zonedDate(value, zone);
  const inUtc = timeForms(value, 'Z', ['Z', '', '+00', '+00:00']);
  return offset === 'Z' ? inUtc : [...inUtc, ...timeForms(value, zone, ['', offset])];
}

function timeForms(value: Date, zone: Zone, endings: readonly string[]): string[] {
  const [day = '', time = ''] = zonedDate(value, zone).time.split('T');
  return ['T', ' '].flatMap((separator) =>
    // MySQL writes as many digits as the column has.
    [time, time.replace(/\.?0+$/, ''), `${time}000`].flatMap((clock) =>
      endings.map((ending) => `${day}${separator}${clock}${ending}`),
    ),
  );
}

function bytesOf(texts: readonly string[]): Buffer[] {
  return texts.map((text) => Buffer.from(text));
}

function readsAs(
  encrypted: EncryptedColumn,
  index: BlindIndex,
  form: unknown,
  value: unknown,
): boolean {
  try {
    return index.matches(readLegacyPlaintext(encrypted, form), value);
  } catch (error) {
    if (error instanceof UnsupportedValueError) return false;
    throw error;
  }
}
