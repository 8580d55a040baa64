import type { FieldEncryptionOptions, KmsHealth } from '../../../src';
import { kmsHealth } from '../../../src/doctor/checks/kms';
import { copies, isInRange } from '../../../src/doctor/checks/packages';
import { backend, fips, node } from '../../../src/doctor/checks/runtime';
import { estimatedBits } from '../../../src/kms/local/passphrase';
import { localKms } from '../../../src';
import type { Installation } from '../../../src/typeorm/installation/installation';

const NOW = new Date('2030-01-01');

function installation(options: Partial<FieldEncryptionOptions>): Installation {
  return { options: { now: () => NOW, ...options } } as unknown as Installation;
}

function kms(health: () => Promise<KmsHealth>): FieldEncryptionOptions['kms'] {
  return { name: 'fake', health } as FieldEncryptionOptions['kms'];
}

async function healthCodes(health: () => Promise<KmsHealth>): Promise<string[]> {
  const findings = await kmsHealth(installation({ kms: kms(health) }));
  return findings.map(({ code }) => code);
}

describe('The doctor on a KMS', () => {
  const createdAt = (date: string) => () =>
    Promise.resolve({ ok: true, kekCreatedAt: new Date(date) });

  it('tells the age of the KEK, and warns after two years', async () => {
    expect(await healthCodes(createdAt('2029-06-01'))).toEqual(['KMS', 'KEK_AGE']);
    expect(await healthCodes(createdAt('2027-06-01'))).toEqual(['KMS', 'KEK_OLD']);
  });

  it('reports one that throws, though it must not', async () => {
    expect(await healthCodes(() => Promise.reject(new Error('secret')))).toEqual(['KMS_UNHEALTHY']);
  });

  it('does not wait for ever for one that does not answer', async () => {
    jest.useFakeTimers();
    const answer = healthCodes(() => new Promise(() => undefined));
    await jest.advanceTimersByTimeAsync(60_000);
    jest.useRealTimers();
    expect(await answer).toEqual(['KMS_UNHEALTHY']);
  });
});

describe('The doctor on FIPS mode', () => {
  const { kms: passphraseKms } = { kms: localKms({ passphrase: 'a passphrase of some length' }) };
  const served = { suite: 'xaes-256-gcm', kms: kms(() => Promise.resolve({ ok: true })) } as const;
  const codesOf = (on: boolean, problem: string | undefined, options: object = {}) =>
    fips(installation({ ...served, ...options }), on, problem).map(({ code }) => code);

  it('goes by what OpenSSL does and refuses, not by what is set', () => {
    expect(codesOf(false, 'OpenSSL does not refuse MD5')).toEqual(['FIPS_OFF']);
    expect(codesOf(true, 'OpenSSL does not refuse MD5')).toEqual(['FIPS_NOT_ENFORCED']);
    expect(codesOf(true, 'OpenSSL refuses AES-256-GCM')).toEqual(['FIPS_NOT_ENFORCED']);
    expect(codesOf(true, undefined)).toEqual(['FIPS_ON']);
  });

  it('takes a process that is not in the mode for an error where the profile asks for it', () => {
    const profile = { profile: 'fips-140-3' };
    expect(codesOf(false, 'OpenSSL does not refuse MD5', profile)).toEqual(['FIPS_NOT_ENFORCED']);
  });

  it('warns of algorithms that are not of the module', () => {
    for (const options of [{ suite: 'xchacha20-poly1305' }, { kms: passphraseKms }]) {
      expect(codesOf(true, undefined, options)).toEqual(['FIPS_ON', 'FIPS_SUITE']);
    }
  });
});

describe('The doctor on what encrypts', () => {
  it('says which it is, and warns of an add-on that cannot be used', () => {
    const codeOf = (absence: Parameters<typeof backend>[0]['absence']) =>
      backend({ backend: 'javascript', native: undefined, absence }).code;
    expect(codeOf(undefined)).toBe('BACKEND');
    expect(codeOf('not installed')).toBe('BACKEND');
    expect(codeOf('turned off')).toBe('BACKEND');
    expect(codeOf(new Error('/there/x.node: invalid ELF header'))).toBe('NATIVE_UNUSABLE');
  });
});

describe('The doctor on versions', () => {
  it.each([
    ['8.23.1', '^8.5.1', true],
    ['8.5.0', '^8.5.1', false],
    ['9.0.0', '^8.5.1', false],
    ['0.3.31', '^0.3.20 || ^1.0.0', true],
    ['0.4.0', '^0.3.20 || ^1.0.0', false],
    ['1.2.0-rc.1', '^0.3.20 || ^1.0.0', true],
    ['5.1.0', '^4 || ^5', true],
    ['6.0.0', '^4 || ^5', false],
  ])('takes %s to be in %s: %s', (version, range, expected) => {
    expect(isInRange(version, range)).toBe(expected);
  });

  it('refuses a Node.js that the package does not run on', () => {
    expect(node('18.20.0').map(({ code }) => code)).toEqual(['NODE_UNSUPPORTED']);
    expect(node('22.1.0').map(({ code }) => code)).toEqual(['NODE']);
  });

  it('names copies of TypeORM and of the library', () => {
    const library = 'dist/src/typeorm/installation/installation.js';
    const files = [
      '/a/node_modules/typeorm/data-source/DataSource.js',
      `/a/node_modules/typeorm-field-encryption/${library}`,
    ];
    expect(copies(files)).toEqual([]);
    const twice = [...files, ...files.map((file) => file.replace('/a/', '/a/node_modules/b/'))];
    expect(copies(twice).map(({ code }) => code)).toEqual(['TYPEORM_COPIES', 'LIBRARY_COPIES']);
  });
});

describe('The strength of a passphrase', () => {
  it.each([
    'aaaaaaaaaaaaaaaaaaaaaaaa',
    '123456789012345678901234',
    'Password1234!',
    'password password password',
    'Summer2029Hospital!',
    'correct horse battery staple',
  ])('is little for %s', (passphrase) => {
    expect(estimatedBits(passphrase)).toBeLessThan(64);
  });

  it.each([
    '9Fq2mVw7pXc4tZ8nRk5bYh1d',
    'nZ0v5Qm8R3+xJk/2Lw9TtAe7Yc1Hs6Gd',
    '6f1e0b9a7c3d5e8f2a4b6c8d0e1f3a5b',
    'acid-blimp-crate-dodge-ember-flint-gauze',
  ])('is enough for %s', (passphrase) => {
    expect(estimatedBits(passphrase)).toBeGreaterThan(64);
  });
});
