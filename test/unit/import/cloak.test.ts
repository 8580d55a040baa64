import { inspect } from 'node:util';

import { ConfigurationError, DecryptionError } from '../../../src';
import type { CloakOptions } from '../../../src/import';
import { cloakFormat } from '../../../src/import';
import {
  expectRefused,
  previousFormatVectors,
  withFlippedBits,
} from '../../support/previous-formats';

const { keys, masterKey, keychain, values } = previousFormatVectors.cloak;
const [first] = values as [(typeof values)[0]];

/** base64url with padding, as cloak has it. */
const encode = (bytes: Buffer) =>
  bytes.toString('base64').replaceAll('+', '-').replaceAll('/', '_');

describe('cloakFormat', () => {
  it('reads what cloak wrote, under each of the keys', () => {
    const format = cloakFormat({ keys: [...new Set(values.map(({ key }) => key))] });
    for (const { text, stored } of values) {
      expect(format.recognises(stored)).toBe(true);
      expect(Buffer.from(format.decrypt(stored)).toString('utf8')).toBe(text);
    }
  });

  it('reads with the keys of an exported keychain', () => {
    const format = cloakFormat({ keychain, masterKey });
    for (const { key, text, stored } of values.filter(({ key: k }) => keys.includes(k))) {
      expect(keys).toContain(key);
      expect(Buffer.from(format.decrypt(stored)).toString('utf8')).toBe(text);
    }
  });

  it('refuses every changed bit and every cut', () => {
    const format = cloakFormat({ keys });
    const [version, algorithm, fingerprint, iv = '', sealed = ''] = first.stored.split('.');
    const message = (...parts: string[]) => [version, algorithm, fingerprint, ...parts].join('.');
    for (const changed of withFlippedBits(Buffer.from(iv, 'base64url'))) {
      expect(() => format.decrypt(message(encode(changed), sealed))).toThrow(DecryptionError);
    }
    for (const changed of withFlippedBits(Buffer.from(sealed, 'base64url'))) {
      expect(() => format.decrypt(message(iv, encode(changed)))).toThrow(DecryptionError);
    }
    for (let length = 0; length < first.stored.length; length++) {
      expectRefused(format, first.stored.slice(0, length));
    }
  });

  it.each([
    ['empty text', ''],
    ['another version', first.stored.replace('v1', 'v2')],
    ['another algorithm', first.stored.replace('aesgcm256', 'aesgcm128')],
    [
      'a fingerprint in capitals',
      first.stored.replace(/\.([\da-f]{8})\./, (s) => s.toUpperCase() + 'A'),
    ],
    ['a part too many', `${first.stored}.`],
    ['a line end behind it', `${first.stored}\n`],
    ['a space in front of it', ` ${first.stored}`],
    ['a serialized key', keys[0]!],
  ])('does not recognise %s', (_, stored) => {
    expect(cloakFormat({ keys }).recognises(stored)).toBe(false);
  });

  it('names the fingerprint of a key that it was not given, and nothing else', () => {
    const format = cloakFormat({ keys: [keys[1]!] });
    const [, , fingerprint = '', , sealed = ''] = first.stored.split('.');
    let error: unknown;
    try {
      format.decrypt(first.stored);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(DecryptionError);
    expect(String(error)).toContain(fingerprint);
    expect(inspect(error, { depth: 5 })).not.toContain(sealed);
  });

  it('shows no key', () => {
    const format = cloakFormat({ keychain, masterKey });
    const shown = `${inspect(format, { depth: 9, showHidden: true })}${JSON.stringify(format)}`;
    for (const key of [...keys, masterKey, keychain]) {
      expect(shown).not.toContain(key.split('.').at(-1));
    }
  });

  it.each<[string, unknown, RegExp]>([
    ['no options', undefined, /options are missing/],
    ['no keys', { keys: [] }, /keys/],
    ['keys that are no list', { keys: keys[0] }, /keys/],
    ['a key that is none of cloak', { keys: ['canary'] }, /key of cloak/],
    ['a key that was cut', { keys: [keys[0]!.slice(0, -3)] }, /key of cloak/],
    ['keys and a keychain', { keys, keychain, masterKey }, /got both/],
    ['a keychain that is none', { keychain: 'canary', masterKey }, /exportKeychain/],
    ['no master key', { keychain }, /masterKey/],
    ['another master key', { keychain, masterKey: keys[0] }, /does not open/],
    [
      'a message in the place of a keychain',
      { keychain: first.stored, masterKey: first.key },
      /list of keys/,
    ],
  ])('refuses %s', (_, options, message) => {
    const make = () => cloakFormat(options as CloakOptions);
    expect(make).toThrow(ConfigurationError);
    expect(make).toThrow(message);
    expect(make).not.toThrow(/canary/);
  });
});
