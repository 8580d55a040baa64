import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { inspect } from 'node:util';

import { ConfigurationError } from '../../../../src/errors';
import type { Pkcs11KmsOptions } from '../../../../src/kms/pkcs11';
import { pkcs11Kms } from '../../../../src/kms/pkcs11';
import { loadCryptoki } from '../../../../src/kms/pkcs11/cryptoki';
import {
  describeFailure,
  kindOfFailure,
  returnValueOf,
} from '../../../../src/kms/pkcs11/return-value';
import { openKms, PIN, softHsm, TYPESCRIPT_THREADS } from '../../../support/pkcs11-modules';
import { BINDING, describeOn, KEY, rejection } from '../../../support/pkcs11-suite';

const OPTIONS: Pkcs11KmsOptions = {
  library: '/usr/lib/hsm.so',
  token: { label: 'clinic' },
  pin: PIN,
  keyLabel: 'kek',
};

function refusal(options: unknown): ConfigurationError {
  try {
    pkcs11Kms(options as Pkcs11KmsOptions);
  } catch (error) {
    return error as ConfigurationError;
  }
  throw new Error('was not refused');
}

describe('pkcs11Kms', () => {
  it.each<[string, object]>([
    ['library', { library: 'hsm.so' }],
    ['token', { token: {} }],
    ['token', { token: undefined }],
    ['token', { token: { serial: 42 } }],
    ['token.slot', { token: { slot: 0 } }],
    ['pin', { pin: '' }],
    ['keyLabel', { keyLabel: '' }],
    ['keyLabel', { keyLabel: 'kek.v2' }],
    ['createKey', { createKey: 'yes' }],
    ['mechanism', { mechanism: 'aes-cbc' }],
    ['sessions', { sessions: 0 }],
    ['timeoutMs', { timeoutMs: 5 }],
    ['libraryParameters', { libraryParameters: 1 }],
    ['slot', { slot: 0 }],
  ])('refuses options that cannot work by name: %s', (name, change) => {
    const error = refusal({ ...OPTIONS, ...change });
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error.message).toContain(name);
    expect(error.message).not.toContain(PIN);
  });

  it('refuses to be called without options', () => {
    expect(refusal(undefined)).toBeInstanceOf(ConfigurationError);
  });

  it('starts nothing before it is used, and shows no PIN', async () => {
    const kms = pkcs11Kms(OPTIONS);
    expect(inspect(kms, { depth: 20, showHidden: true })).not.toContain(PIN);
    expect(JSON.stringify(kms)).toBe('{"name":"pkcs11"}');
    await kms.close?.();
  });

  it('says where to get pkcs11js when it is not installed', () => {
    const missing = (): never => {
      throw new Error("Cannot find module 'pkcs11js'");
    };
    expect(() => loadCryptoki(OPTIONS.library, missing)).toThrow(ConfigurationError);
    expect(() => loadCryptoki(OPTIONS.library, missing)).toThrow('npm install pkcs11js');
  });

  it('says so when the module cannot be loaded', async () => {
    const kms = openKms({ ...OPTIONS, library: '/nowhere/hsm.so' });
    const error = await rejection(kms.wrapKey(KEY, BINDING));
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error.message).toContain('/nowhere/hsm.so');
    await kms.close?.();
  });
});

describe('The return value of a failure', () => {
  it('is known from any of the shapes that pkcs11js throws', () => {
    const withCode = (message: string, code: unknown) =>
      Object.assign(new Error(message), { code });
    expect(returnValueOf(withCode('CKR_PIN_INCORRECT', 160))).toBe('CKR_PIN_INCORRECT');
    expect(returnValueOf(withCode('', 0xb3))).toBe('CKR_SESSION_HANDLE_INVALID');
    expect(returnValueOf(new Error('CKR_USER_NOT_LOGGED_IN:257'))).toBe('CKR_USER_NOT_LOGGED_IN');
    expect(returnValueOf(withCode('', 0x1234))).toBe('CKR_0x1234');
    expect(returnValueOf(new Error('dlopen failed'))).toBeUndefined();
    expect(returnValueOf(undefined)).toBeUndefined();
    expect(returnValueOf(new ConfigurationError('it said CKR_DEVICE_ERROR'))).toBeUndefined();
    expect(describeFailure(new Error('dlopen failed'))).toBe('dlopen failed');
    expect(kindOfFailure(new Error('dlopen failed'))).toBeUndefined();
  });
});

describeOn(softHsm, 'The event loop', () => {
  it('goes on while the token is slow with every call', async () => {
    const slow = ['--require', join(__dirname, '../../../support/pkcs11-slow.cjs')];
    const kms = openKms(
      { ...softHsm.token(), keyLabel: `kek-${randomBytes(4).toString('hex')}`, createKey: true },
      [...TYPESCRIPT_THREADS, ...slow],
    );
    let turns = 0;
    const timer = setInterval(() => {
      turns += 1;
    }, 1);

    await kms.wrapKey(KEY, BINDING);
    clearInterval(timer);

    // Some thirty calls of the module sleep for 100 ms each: were they made on this thread, the timer
    // could not have fired more often than that.
    expect(turns).toBeGreaterThan(100);
    await kms.close?.();
  });
});
