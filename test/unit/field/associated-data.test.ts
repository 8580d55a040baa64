import { lengthPrefixed } from '../../../src/encoding/length-prefixed';
import { AssociatedData } from '../../../src/field/associated-data';
import { keyHeader } from '../../../src/format/data-key-id';
import { KEY_ID } from '../../support/field-fixtures';
import { staticKey } from '../../support/static-key-source';

const key = staticKey({ id: KEY_ID });

describe('AssociatedData', () => {
  it('binds label, header, application and field', () => {
    expect(new AssociatedData('clinic', 'Patient.ssn').forKey(key)).toEqual(
      lengthPrefixed([
        'typeorm-field-encryption/v1/field',
        keyHeader(KEY_ID),
        'clinic',
        'Patient.ssn',
      ]),
    );
  });

  it('is made once for each key', () => {
    const data = new AssociatedData('clinic', 'Patient.ssn');
    const other = staticKey({ id: 'f'.repeat(16) });
    expect(data.forKey(key)).toBe(data.forKey(key));
    expect(data.forKey(other)).not.toEqual(data.forKey(key));
  });
});
