import crypto from 'node:crypto';

import { FieldCipher } from '../../../src/field/field-cipher';
import { prepare, startProcess } from '../../support/key-fixtures';

describe('While the random generator of the system fails', () => {
  it('no key is made and nothing is encrypted, and there is no other generator', async () => {
    const { keys, store, kms } = startProcess();
    await prepare({ keys }, ['default'], { index: false });
    const cipher = new FieldCipher(
      {
        entity: 'Patient',
        property: 'ssn',
        fieldId: 'Patient.ssn',
        keyName: 'default',
        type: 'string',
        coerce: false,
        storage: 'text',
        maxValueBytes: 100,
        boundTo: [],
        readsUnbound: false,
        isScoped: false,
        readsUnscoped: false,
        isSealed: false,
        columnLength: undefined,
      },
      'clinic',
      keys,
    );
    const failure = new Error('no entropy');
    const fail = (): never => {
      throw failure;
    };
    jest.spyOn(crypto, 'randomFillSync').mockImplementation(fail);
    jest.spyOn(crypto, 'randomBytes').mockImplementation(fail);
    const { wraps } = kms;

    await expect(keys.rotate('default')).rejects.toBe(failure);
    await expect(keys.operations.backup({ shares: 3, threshold: 2 })).rejects.toBe(failure);
    // Nonces are drawn ahead: those that were drawn before are used up first, none of them twice.
    const encrypted = new Set<unknown>();
    expect(() => {
      for (;;) encrypted.add(cipher.encrypt('canary'));
    }).toThrow(failure);
    const { size } = encrypted;
    expect(() => encrypted.add(cipher.encrypt('canary'))).toThrow(failure);
    expect(encrypted.size).toBe(size);
    expect(kms.wraps).toBe(wraps);
    expect(store.rows).toHaveLength(1);
  });
});
