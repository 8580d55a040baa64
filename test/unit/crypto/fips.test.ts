import crypto from 'node:crypto';

import { fipsProblem, requireFips } from '../../../src/crypto/fips';
import { ConfigurationError } from '../../../src/errors';

/** Makes OpenSSL refuse algorithms, as its FIPS provider does. */
function refuse(...names: string[]): void {
  const { createCipheriv, createHash, sign } = crypto;
  const unless = (name: string): void => {
    if (names.includes(name)) throw new Error('unsupported');
  };
  jest.spyOn(crypto, 'createHash').mockImplementation((name, options) => {
    unless(name);
    return createHash(name, options);
  });
  jest.spyOn(crypto, 'createCipheriv').mockImplementation(((...args: [string, Buffer, Buffer]) => {
    unless(args[0]);
    return createCipheriv(...args);
  }) as typeof createCipheriv);
  jest.spyOn(crypto, 'sign').mockImplementation((...args: Parameters<typeof sign>) => {
    unless('ed25519');
    return sign(...args);
  });
}

describe('What OpenSSL does and refuses', () => {
  it('is no FIPS mode where one algorithm is not refused', () => {
    refuse('md5');
    expect(fipsProblem()).toBe('OpenSSL does not refuse ChaCha20');
  });

  it('is none where what is needed is refused, too', () => {
    refuse('md5', 'chacha20', 'aes-256-gcm');
    expect(fipsProblem()).toBe('OpenSSL refuses AES-256-GCM');
  });

  it('is enough for values without Ed25519, and not for signatures', () => {
    refuse('md5', 'chacha20', 'ed25519');
    expect(fipsProblem()).toBeUndefined();
    expect(fipsProblem(['Ed25519'])).toBe('OpenSSL refuses Ed25519');
    const sign = (): void => requireFips('fips-140-3', ['Ed25519']);
    expect(sign).toThrow(ConfigurationError);
    expect(sign).toThrow(/not in force: OpenSSL refuses Ed25519/);
  });

  it('does not matter without a profile', () => {
    expect(() => requireFips(undefined, ['Ed25519'])).not.toThrow();
  });
});
