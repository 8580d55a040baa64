import type { CipherSuite } from '../../src/crypto/aead';
import { createAead } from '../../src/crypto/aead';
import type { ValueType } from '../../src/encoding/value-codec';
import { DecryptionError } from '../../src/errors';
import { FieldCipher } from '../../src/field/field-cipher';
import { RowContextForm, utf8 } from '../../src/field/row-context';
import type { ContextPart } from '../../src/field/row-context';
import type { Storage } from '../../src/format/field-ciphertext';
import { fieldPolicy, SUITES, VALUE_TYPES } from '../support/field-fixtures';
import { FORMAT_1_VALUES } from '../support/format-1-values';
import { hex } from '../support/shared-vectors';
import { staticKey, StaticKeySource } from '../support/static-key-source';

import golden from './format-2.json';

interface GoldenCiphertext {
  readonly suite: CipherSuite;
  readonly storage: Storage;
  readonly type: ValueType;
  readonly value: string;
  readonly row: number;
  readonly stored: string;
}

const ciphertexts = golden.ciphertexts as readonly GoldenCiphertext[];
const rows = golden.rows as readonly {
  readonly parts: readonly (ContextPart & { readonly value: string })[];
  readonly context: string;
}[];

describe('format 2', () => {
  it('is on file for every suite, storage and type', () => {
    const covered = new Set(ciphertexts.map(({ suite, storage, type }) => suite + storage + type));
    expect(covered.size).toBe(SUITES.length * 2 * VALUE_TYPES.length);
  });

  it.each(rows)('has the context of the row $parts', ({ parts, context }) => {
    const form = new RowContextForm(parts);
    const values = form.parts.map(
      ({ kind, name }) =>
        parts.find((part) => part.kind === kind && part.name === name)?.value ?? '',
    );
    expect(
      Buffer.from(
        form.of((i) => utf8(values[i] ?? '')),
        'latin1',
      ).toString('hex'),
    ).toBe(context);
  });

  it.each(ciphertexts)('is read: $suite, $storage, $type "$value"', (line) => {
    const expected = FORMAT_1_VALUES[line.value]?.value;
    for (const cipher of ciphersOf(line)) {
      expect(cipher.decrypt(storedOf(line), contextOf(line))).toStrictEqual(expected);
      expect(() => cipher.decrypt(storedOf(line), contextOf({ row: line.row + 1 }))).toThrow(
        DecryptionError,
      );
      const again = cipher.encrypt(expected, contextOf(line));
      for (const other of ciphersOf(line)) {
        expect(other.decrypt(again, contextOf(line))).toStrictEqual(expected);
      }
    }
  });
});

/** The ciphers of a line, with the add-on, where that is in use, and without. */
function ciphersOf({ suite, storage, type }: GoldenCiphertext): FieldCipher[] {
  const key = staticKey({ id: golden.dataKey.id, seed: 0x11, suite });
  const withoutAddOn = staticKey({
    id: golden.dataKey.id,
    suite,
    aead: createAead(suite, hex(golden.dataKey.bytes)),
  });
  const policy = fieldPolicy({ type, storage, fieldId: golden.fieldId, boundTo: ['id'] });
  return [key, withoutAddOn].map(
    (each) => new FieldCipher(policy, golden.application, new StaticKeySource([each])),
  );
}

function contextOf({ row }: Pick<GoldenCiphertext, 'row'>): string {
  return Buffer.from(rows[row % rows.length]?.context ?? '', 'hex').toString('latin1');
}

function storedOf({ storage, stored }: GoldenCiphertext): string | Buffer {
  return storage === 'text' ? stored : Buffer.from(stored, 'hex');
}
