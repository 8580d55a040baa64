import { randomFillSync } from 'node:crypto';

import { equalInConstantTime, wipe } from '../../../src/crypto/secret-bytes';
import { LABELS } from '../../../src/crypto/labels';
import { fillRandom } from '../../../src/crypto/nonces';
import { RecentMap } from '../../../src/crypto/xaes-256-gcm';

describe('LABELS', () => {
  it('are distinct, and none begins another', () => {
    const labels = Object.values(LABELS);
    for (const label of labels) {
      expect(labels.filter((other) => other.startsWith(label))).toEqual([label]);
    }
  });

  it('stay as they were first stored', () => {
    expect(LABELS).toEqual({
      accessEntry: 'typeorm-field-encryption/v1/access-entry',
      document: 'typeorm-field-encryption/v1/document',
      signingKeyChange: 'typeorm-field-encryption/v1/signing-key-change',
      fieldAssociatedData: 'typeorm-field-encryption/v1/field',
      indexKey: 'typeorm-field-encryption/v1/index-key',
      keyRecordMac: 'typeorm-field-encryption/v1/key-record',
      keyStateMac: 'typeorm-field-encryption/v1/key-state',
      auditKey: 'typeorm-field-encryption/v1/audit-key',
      auditEntry: 'typeorm-field-encryption/v1/audit-entry',
      keyBackup: 'typeorm-field-encryption/v1/backup',
      pkcs11Wrap: 'typeorm-field-encryption/v1/pkcs11-kek',
      localKekWrap: 'typeorm-field-encryption/v1/local-kek',
      vaultWrap: 'typeorm-field-encryption/v1/vault-kek',
      awsWrap: 'typeorm-field-encryption/v1/aws-kek',
      gcpWrap: 'typeorm-field-encryption/v1/gcp-kek',
      failoverMac: 'typeorm-field-encryption/v1/failover',
      azureSignature: 'typeorm-field-encryption/v1/azure-signature',
      azureWrap: 'typeorm-field-encryption/v1/azure-kek',
      boundKey: 'typeorm-field-encryption/v1/bound-key',
      keyAnchor: 'typeorm-field-encryption/v1/key-anchor',
      nonce: 'typeorm-field-encryption/v1/nonce',
      purposeAssociatedData: 'typeorm-field-encryption/v1/purpose-value',
      purposeIndexKey: 'typeorm-field-encryption/v1/purpose-index-key',
      scopeKey: 'typeorm-field-encryption/v1/scope-key',
      scopeReceipt: 'typeorm-field-encryption/v1/scope-receipt',
      keyCheckValue: 'typeorm-field-encryption/v1/check-value',
    });
  });
});

describe('fillRandom', () => {
  it('fills exactly the bytes it is asked for', () => {
    const target = Buffer.alloc(40);
    fillRandom(target, 8, 24);
    expect(target.subarray(0, 8)).toEqual(Buffer.alloc(8));
    expect(target.subarray(32)).toEqual(Buffer.alloc(8));
    expect(target.subarray(8, 32)).not.toEqual(Buffer.alloc(24));
  });

  it('hands out nothing twice, across the refills of its pool', () => {
    const seen = new Set<string>();
    for (let draw = 0; draw < 5000; draw += 1) {
      const target = Buffer.alloc(12);
      fillRandom(target, 0, 12);
      seen.add(target.toString('hex'));
    }
    expect(seen.size).toBe(5000);
  });
});

describe('equalInConstantTime', () => {
  it('tells equal from different, and different lengths without throwing', () => {
    const bytes = randomFillSync(Buffer.alloc(32));
    expect(equalInConstantTime(bytes, Buffer.from(bytes))).toBe(true);
    expect(equalInConstantTime(bytes, Buffer.alloc(32))).toBe(false);
    expect(equalInConstantTime(bytes, bytes.subarray(1))).toBe(false);
    expect(equalInConstantTime(Buffer.alloc(0), Buffer.alloc(0))).toBe(true);
  });
});

describe('wipe', () => {
  it('leaves zeros', () => {
    const bytes = Buffer.from('secret');
    wipe(bytes);
    expect(bytes).toEqual(Buffer.alloc(6));
  });
});

describe('RecentMap', () => {
  it('keeps what was used last and forgets the rest', () => {
    const map = new RecentMap<number, number>(2);
    for (const key of [1, 2, 3]) map.set(key, key);
    map.get(1);
    for (const key of [4, 5]) map.set(key, key);

    expect(map.get(2)).toBeUndefined();
    expect(map.get(4)).toBe(4);
    expect(map.get(5)).toBe(5);
  });

  it('never holds more than twice its capacity', () => {
    const map = new RecentMap<number, number>(3);
    for (let key = 0; key < 100; key += 1) map.set(key, key);
    const held = Array.from({ length: 100 }, (_, key) => map.get(key)).filter(
      (v) => v !== undefined,
    );
    expect(held.length).toBeLessThanOrEqual(6);
  });

  it('replaces a value without forgetting the others', () => {
    const map = new RecentMap<string, number>(2);
    map.set('a', 1);
    map.set('b', 1);
    map.set('a', 2);
    expect([map.get('a'), map.get('b')]).toEqual([2, 1]);
  });
});
