import { randomBytes } from 'node:crypto';
import { inspect } from 'node:util';

import { ConfigurationError, DecryptionError } from '../../../src';
import type { TypeormEncryptedOptions } from '../../../src/import';
import { typeormEncryptedFormat } from '../../../src/import';
import {
  expectRefused,
  previousFormatVectors,
  withFlippedBits,
} from '../../support/previous-formats';

const { typeormEncrypted, typeormEncryptedJson, cloak } = previousFormatVectors;
const [{ options: OPTIONS, values: VALUES }] = typeormEncrypted as [(typeof typeormEncrypted)[0]];

const read = (options: TypeormEncryptedOptions, stored: string): string =>
  Buffer.from(typeormEncryptedFormat(options).decrypt(stored)).toString('utf8');

describe('typeormEncryptedFormat', () => {
  it.each(
    typeormEncrypted.map(({ options, values }) => {
      const { algorithm, ivLength, authTagLength = 'default', iv = 'random' } = options;
      return [
        `${algorithm}, ivLength ${ivLength}, tag ${authTagLength}, iv ${iv}`,
        options,
        values,
      ];
    }),
  )('reads what typeorm-encrypted wrote with %s', (_, options, values) => {
    const format = typeormEncryptedFormat(options);
    for (const { text, stored } of values) {
      expect(format.recognises(stored)).toBe(true);
      expect(Buffer.from(format.decrypt(stored)).toString('utf8')).toBe(text);
    }
  });

  it('takes the key as bytes, too', () => {
    const key = Buffer.from(OPTIONS.key as string, 'hex');
    const format = typeormEncryptedFormat({ ...OPTIONS, key });
    key.fill(0);
    expect(Buffer.from(format.decrypt(VALUES[0].stored)).toString()).toBe(VALUES[0].text);
  });

  it('reads JSON columns, as text and as PostgreSQL prints them', () => {
    const { options, stored, value } = typeormEncryptedJson;
    const printed = stored.replace(':', ': ');
    expect(printed).not.toBe(stored);
    for (const text of [stored, printed]) expect(JSON.parse(read(options, text))).toEqual(value);
    const format = typeormEncryptedFormat(options);
    for (const other of [
      '{}',
      '{"encrypted":1}',
      stored.slice(0, -1),
      stored.replace('}', ',"a":1}'),
    ]) {
      expect(format.recognises(other)).toBe(false);
    }
  });

  it.each(typeormEncrypted.filter(({ options }) => options.algorithm.endsWith('-gcm')))(
    'refuses every changed bit and every cut, $options.algorithm with $options.ivLength/$options.authTagLength',
    ({ options, values }) => {
      const format = typeormEncryptedFormat(options);
      const { stored } = values[0];
      const bytes = Buffer.from(stored, 'base64');
      for (const changed of withFlippedBits(bytes)) {
        expect(() => format.decrypt(changed.toString('base64'))).toThrow(DecryptionError);
      }
      for (let length = 0; length < bytes.length; length++) {
        expectRefused(format, bytes.subarray(0, length).toString('base64'));
      }
      for (let length = 0; length < stored.length; length++) {
        expectRefused(format, stored.slice(0, length));
      }
    },
  );

  it('refuses every cut of a value in CBC, by form or by padding', () => {
    const { options, values } = typeormEncrypted.find(
      ({ options: { algorithm } }) => algorithm === 'aes-256-cbc',
    )!;
    const format = typeormEncryptedFormat(options);
    for (const { stored } of values) {
      for (let length = 0; length < stored.length; length++) {
        expectRefused(format, stored.slice(0, length));
      }
    }
  });

  it.each([
    ['empty text', ''],
    ['a word', 'password'],
    ['a sentence', 'Ada Lovelace lived in London, and in Surrey.'],
    ['a line end behind it', `${VALUES[0].stored}\n`],
    ['two values', VALUES[0].stored + VALUES[0].stored.slice(0, 3)],
    ['base64 without its padding', VALUES[0].stored.replace(/=+$/, '') + 'A'],
    ['a value of cloak', cloak.values[0]!.stored],
    ['a value of Vault', `vault:v1:${randomBytes(40).toString('base64')}`],
  ])('does not recognise %s', (_, stored) => {
    expect(typeormEncryptedFormat(OPTIONS).recognises(stored)).toBe(false);
  });

  it.each(typeormEncrypted.slice(0, 5))(
    'says nothing of key or value under a wrong key, $options.algorithm',
    ({ options, values }) => {
      const key = `${'0'.repeat((options.key as string).length - 2)}01`;
      let error: unknown;
      try {
        typeormEncryptedFormat({ ...options, key }).decrypt(values[0].stored);
      } catch (thrown) {
        error = thrown;
      }
      expect(error).toBeInstanceOf(DecryptionError);
      expect(String(error)).toMatch(/typeormEncryptedFormat/);
      const shown = inspect(error, { depth: 5 });
      for (const secret of [key, values[0].stored, values[0].text]) {
        expect(shown).not.toContain(secret);
      }
    },
  );

  it('shows no key', () => {
    const format = typeormEncryptedFormat(OPTIONS);
    const shown = `${inspect(format, { depth: 9, showHidden: true })}${JSON.stringify(format)}`;
    const key = Buffer.from(OPTIONS.key as string, 'hex');
    for (const form of ['hex', 'base64', 'latin1'] as const) {
      expect(shown).not.toContain(key.toString(form));
    }
  });

  it.each<[string, unknown, RegExp]>([
    ['no options', undefined, /options are missing/],
    ['an option of another name', { ...OPTIONS, keys: 'x' }, /no option keys/],
    ['a key that is not hexadecimal', { ...OPTIONS, key: 'canary-'.repeat(9) }, /hexadecimal/],
    ['half of a hexadecimal digit pair', { ...OPTIONS, key: 'abc' }, /hexadecimal/],
    ['a key that is too short', { ...OPTIONS, key: 'ab'.repeat(16) }, /32 bytes/],
    ['an unknown algorithm', { ...OPTIONS, algorithm: 'rot13' }, /algorithm/],
    ['no algorithm', { key: OPTIONS.key, ivLength: 12 }, /algorithm/],
    ['one that the package cannot read', { ...OPTIONS, algorithm: 'aes-256-ccm' }, /algorithm/],
    ['one that drops its tag', { ...OPTIONS, algorithm: 'chacha20-poly1305' }, /algorithm/],
    ['no ivLength', { ...OPTIONS, ivLength: undefined }, /ivLength/],
    [
      'an ivLength that does not fit',
      { ...OPTIONS, algorithm: 'aes-256-cbc', ivLength: 12 },
      /ivLength/,
    ],
    ['a GCM without vector', { ...OPTIONS, ivLength: 0 }, /ivLength/],
    ['an authTagLength of none', { ...OPTIONS, authTagLength: 5 }, /authTagLength/],
  ])('refuses %s', (_, options, message) => {
    const make = () => typeormEncryptedFormat(options as TypeormEncryptedOptions);
    expect(make).toThrow(ConfigurationError);
    expect(make).toThrow(message);
    expect(make).not.toThrow(/canary/);
  });
});
