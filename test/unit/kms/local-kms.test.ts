import { randomBytes } from 'node:crypto';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';

import type { FieldEncryptionError } from '../../../src/errors';
import { ConfigurationError, KeyUnwrapError, KmsUnavailableError } from '../../../src/errors';
import type { KeyBinding, WrappedKey } from '../../../src/kms/kms-provider';
import type { LocalKmsOptions } from '../../../src/kms/local-kms';
import { localKms } from '../../../src/kms/local-kms';
import { kmsProviderContract } from '../../contract/kms-provider.contract';
import { FAST_SCRYPT, fastLocalKms, ManualClock } from '../../support/key-fixtures';

const PASSPHRASE = 'canary-passphrase-4711';
const BINDING: KeyBinding = {
  application: 'clinic',
  keyId: '0123456789abcdef',
  keyName: 'default',
  purpose: 'data',
};
const KEY = Buffer.alloc(32, 0x2a);

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'local-kms-'));
});

afterAll(async () => {
  await rm(folder, { recursive: true });
});

async function keyFile(content: Uint8Array | string, mode = 0o600): Promise<string> {
  const path = join(folder, randomBytes(8).toString('hex'));
  await writeFile(path, content, { mode });
  await chmod(path, mode);
  return path;
}

async function rejection(promise: Promise<unknown>): Promise<FieldEncryptionError> {
  return promise.then(
    () => {
      throw new Error('did not reject');
    },
    (error: unknown) => error as FieldEncryptionError,
  );
}

function withByte(wrapped: WrappedKey, index: number, value: number): WrappedKey {
  const bytes = Uint8Array.from(wrapped.wrapped);
  bytes[index] = value;
  return { kek: wrapped.kek, wrapped: bytes };
}

/** With one bit changed, so that no byte is by chance what it was. */
function withFlippedByte(wrapped: WrappedKey, index: number): WrappedKey {
  return withByte(wrapped, index, (wrapped.wrapped[index] ?? 0) ^ 1);
}

/** A KMS that tells how often it has derived, by a clock that stands still. */
function countedKms(text: string, clock = new ManualClock()) {
  const passphrase = jest.fn(() => text);
  return { kms: fastLocalKms(passphrase, FAST_SCRYPT, clock.read), passphrase };
}

describe('localKms under a passphrase keeps the provider contract', () => {
  kmsProviderContract(() =>
    Promise.resolve({
      kms: fastLocalKms(() => PASSPHRASE),
      stranger: fastLocalKms('another passphrase'),
      secrets: [PASSPHRASE],
      close: () => Promise.resolve(),
    }),
  );
});

describe('localKms under a key file keeps the provider contract', () => {
  kmsProviderContract(async () => {
    const secret = randomBytes(32);
    return {
      kms: localKms({ keyFile: await keyFile(secret.toString('hex')) }),
      stranger: localKms({ keyFile: await keyFile(randomBytes(32)) }),
      secrets: [secret.toString('hex'), secret.toString('base64'), secret.toString('latin1')],
      close: () => Promise.resolve(),
    };
  });
});

describe('localKms with a passphrase', () => {
  it('wraps at the published cost, and reads it back in another process', async () => {
    const wrapped = await localKms({ passphrase: PASSPHRASE }).wrapKey(KEY, BINDING);

    expect([...wrapped.wrapped.subarray(0, 4)]).toEqual([0x01, 17, 8, 1]);
    const other = localKms({ passphrase: () => Promise.resolve(PASSPHRASE) });
    expect(Buffer.from(await other.unwrapKey(wrapped, BINDING))).toEqual(KEY);
  });

  it('asks for the passphrase only when a key must be derived, and once', async () => {
    const passphrase = jest.fn(() => PASSPHRASE);
    const kms = fastLocalKms(passphrase);
    expect(passphrase).not.toHaveBeenCalled();

    const wrapped = await Promise.all([1, 2, 3].map(() => kms.wrapKey(KEY, BINDING)));
    await Promise.all(wrapped.map((each) => kms.unwrapKey(each, BINDING)));

    expect(passphrase).toHaveBeenCalledTimes(1);
  });

  it('wraps under the salt of the first key that it has unwrapped', async () => {
    const stored = await fastLocalKms(PASSPHRASE).wrapKey(KEY, BINDING);
    const passphrase = jest.fn(() => PASSPHRASE);
    const kms = fastLocalKms(passphrase);

    await kms.unwrapKey(stored, BINDING);
    const wrapped = await kms.wrapKey(KEY, BINDING);

    expect(wrapped.wrapped.subarray(0, 20)).toEqual(stored.wrapped.subarray(0, 20));
    expect(wrapped.kek).toBe(stored.kek);
    expect(passphrase).toHaveBeenCalledTimes(1);
  });

  it('does not take over the salt of a key that it could not open', async () => {
    const foreign = await fastLocalKms('another passphrase').wrapKey(KEY, BINDING);
    const kms = fastLocalKms(PASSPHRASE);

    await rejection(kms.unwrapKey(foreign, BINDING));

    expect((await kms.wrapKey(KEY, BINDING)).kek).not.toBe(foreign.kek);
  });

  it('does not wrap at a stored cost that is below the present one', async () => {
    const stored = await fastLocalKms(PASSPHRASE).wrapKey(KEY, BINDING);
    const preferred = { logN: 6, r: 8, p: 1 };
    const kms = fastLocalKms(PASSPHRASE, { ...FAST_SCRYPT, preferred });

    await kms.unwrapKey(stored, BINDING);

    expect((await kms.wrapKey(KEY, BINDING)).wrapped[1]).toBe(6);
  });

  it('wraps the same key differently each time', async () => {
    const kms = fastLocalKms(PASSPHRASE);
    const first = await kms.wrapKey(KEY, BINDING);
    const second = await kms.wrapKey(KEY, BINDING);
    expect(Buffer.from(first.wrapped).equals(second.wrapped)).toBe(false);
  });

  it('says the same of a wrong passphrase and of damaged bytes', async () => {
    const stored = await fastLocalKms(PASSPHRASE).wrapKey(KEY, BINDING);
    const last = stored.wrapped.length - 1;

    const wrong = await rejection(fastLocalKms('wrong passphrase').unwrapKey(stored, BINDING));
    const commitment = await rejection(
      fastLocalKms(PASSPHRASE).unwrapKey(withFlippedByte(stored, 60), BINDING),
    );
    const tag = await rejection(
      fastLocalKms(PASSPHRASE).unwrapKey(withFlippedByte(stored, last), BINDING),
    );

    expect(wrong).toBeInstanceOf(KeyUnwrapError);
    expect(commitment.message).toBe(wrong.message);
    expect(tag.message).toBe(wrong.message);
  });

  it('asks again after a wrong passphrase', async () => {
    const stored = await fastLocalKms(PASSPHRASE).wrapKey(KEY, BINDING);
    const answers = ['wrong passphrase', PASSPHRASE];
    const kms = fastLocalKms(() => answers.shift());

    await rejection(kms.unwrapKey(stored, BINDING));

    expect(Buffer.from(await kms.unwrapKey(stored, BINDING))).toEqual(KEY);
  });

  it('does not derive again for a damaged key once the passphrase has proved right', async () => {
    const passphrase = jest.fn(() => PASSPHRASE);
    const kms = fastLocalKms(passphrase);
    const stored = await kms.wrapKey(KEY, BINDING);
    await kms.unwrapKey(stored, BINDING);

    await rejection(kms.unwrapKey(withFlippedByte(stored, 60), BINDING));
    await kms.unwrapKey(stored, BINDING);

    expect(passphrase).toHaveBeenCalledTimes(1);
  });

  it('takes a passphrase in composed and decomposed form for the same', async () => {
    const stored = await fastLocalKms('caf\u00e9-caf\u00e9-caf\u00e9').wrapKey(KEY, BINDING);
    const decomposed = fastLocalKms('cafe\u0301-cafe\u0301-cafe\u0301');
    expect(Buffer.from(await decomposed.unwrapKey(stored, BINDING))).toEqual(KEY);
  });

  it.each([
    ['a cost that would take the whole memory', 1, 30],
    ['a cost that is no cost', 1, 1],
    ['a cost just above the accepted', 1, 18],
    ['a cost just below the accepted', 1, 16],
    ['the largest cost a byte can hold', 1, 255],
    ['another block size', 2, 255],
    ['no block size', 2, 0],
    ['too many passes', 3, 255],
    ['one pass too many', 3, 2],
    ['no pass', 3, 0],
  ])('refuses %s before it asks for the passphrase', async (_, index, value) => {
    const stored = await fastLocalKms(PASSPHRASE).wrapKey(KEY, BINDING);
    const real = withByte(stored, 1, 17);
    const passphrase = jest.fn(() => PASSPHRASE);
    const kms = localKms({ passphrase });

    const error = await rejection(kms.unwrapKey(withByte(real, index, value), BINDING));

    expect(error).toMatchObject({ code: 'ERR_KEY_UNWRAP', retryable: false });
    expect(error.message).toContain('scrypt');
    expect(passphrase).not.toHaveBeenCalled();
  });

  it('remembers a bounded number of derivations', async () => {
    const foreign = await Promise.all(
      Array.from({ length: 70 }, () => fastLocalKms(PASSPHRASE).wrapKey(KEY, BINDING)),
    );
    const passphrase = jest.fn(() => PASSPHRASE);
    const kms = fastLocalKms(passphrase);
    for (const each of foreign) await kms.unwrapKey(each, BINDING);
    expect(passphrase).toHaveBeenCalledTimes(70);

    const [first, second] = foreign;
    if (first === undefined || second === undefined) throw new Error('no keys');
    await kms.unwrapKey(first, BINDING); // the salt it wraps under is never dropped
    expect(passphrase).toHaveBeenCalledTimes(70);
    await kms.unwrapKey(second, BINDING);
    expect(passphrase).toHaveBeenCalledTimes(71);
  });

  it('derives little for rows that open nothing, and goes on with keys that do', async () => {
    const stranger = fastLocalKms('another passphrase');
    const clock = new ManualClock();
    const { kms, passphrase } = countedKms(PASSPHRASE, clock);
    const own = await kms.wrapKey(KEY, BINDING);
    const unknown = await fastLocalKms(PASSPHRASE).wrapKey(KEY, BINDING);
    await kms.close?.();
    passphrase.mockClear();

    const codes = new Set<string>();
    for (let row = 0; row < 50; row += 1) {
      const made = withByte(await stranger.wrapKey(KEY, BINDING), 10, row);
      codes.add((await rejection(kms.unwrapKey(made, BINDING))).code);
    }
    expect(codes).toEqual(new Set(['ERR_KEY_UNWRAP']));
    expect(passphrase).toHaveBeenCalledTimes(10);

    expect(Buffer.from(await kms.unwrapKey(own, BINDING))).toEqual(KEY);
    const refused = await rejection(kms.unwrapKey(unknown, BINDING));
    expect(refused).toMatchObject({ code: 'ERR_KEY_UNWRAP', retryable: false });
    expect(refused.message).toContain('audit verify');
    clock.advance(60_000);
    expect(Buffer.from(await kms.unwrapKey(unknown, BINDING))).toEqual(KEY);
  });

  it('tries a salt that opens nothing a few times only, and other salts nevertheless', async () => {
    const foreign = await fastLocalKms('another passphrase').wrapKey(KEY, BINDING);
    const unknown = await fastLocalKms(PASSPHRASE).wrapKey(KEY, BINDING);
    const { kms, passphrase } = countedKms(PASSPHRASE);
    for (let attempt = 0; attempt < 20; attempt += 1)
      await rejection(kms.unwrapKey(foreign, BINDING));
    expect(passphrase).toHaveBeenCalledTimes(3);
    expect(Buffer.from(await kms.unwrapKey(unknown, BINDING))).toEqual(KEY);
  });

  it('opens what is whole under the salt of rows that were damaged', async () => {
    const writer = fastLocalKms(PASSPHRASE);
    const whole = await writer.wrapKey(KEY, BINDING);
    const damaged = await writer.wrapKey(KEY, BINDING);
    const { kms, passphrase } = countedKms(PASSPHRASE);
    for (let at = 1; at <= 20; at += 1) {
      await rejection(
        kms.unwrapKey(withFlippedByte(damaged, damaged.wrapped.length - at), BINDING),
      );
    }
    expect(Buffer.from(await kms.unwrapKey(whole, BINDING))).toEqual(KEY);
    expect(passphrase).toHaveBeenCalledTimes(3);
  });

  it('derives one key at a time, whatever is asked of it at once', async () => {
    const foreign = await Promise.all(
      Array.from({ length: 5 }, () => fastLocalKms(PASSPHRASE).wrapKey(KEY, BINDING)),
    );
    let asking = 0;
    let mostAtOnce = 0;
    const kms = fastLocalKms(async () => {
      asking += 1;
      mostAtOnce = Math.max(mostAtOnce, asking);
      await new Promise((resolve) => setImmediate(resolve));
      asking -= 1;
      return PASSPHRASE;
    });

    await Promise.all(foreign.map((each) => kms.unwrapKey(each, BINDING)));

    expect(mostAtOnce).toBe(1);
  });

  it('forgets what it has derived when it is closed, and derives again when asked', async () => {
    const passphrase = jest.fn(() => PASSPHRASE);
    const kms = fastLocalKms(passphrase);
    const stored = await kms.wrapKey(KEY, BINDING);
    await kms.close?.();

    expect(Buffer.from(await kms.unwrapKey(stored, BINDING))).toEqual(KEY);
    expect(passphrase).toHaveBeenCalledTimes(2);
  });

  it.each([
    ['is too short', 'elevenchars'],
    ['is too short once composed', 'e\u0301'.repeat(6)],
    ['is empty', ''],
    ['is not text', '\ud800-and-more-text'],
  ])('refuses a passphrase that %s', async (_, passphrase) => {
    expect(() => localKms({ passphrase })).toThrow(ConfigurationError);
    const error = await rejection(localKms({ passphrase: () => passphrase }).wrapKey(KEY, BINDING));
    expect(error).toMatchObject({ code: 'ERR_CONFIGURATION' });
    if (passphrase !== '') expect(error.message).not.toContain(passphrase);
  });

  it('says that there is no passphrase when its function returns nothing', async () => {
    const kms = localKms({ passphrase: () => undefined });
    const error = await rejection(kms.wrapKey(KEY, BINDING));
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error.message).toContain('there is no passphrase');
    expect(await kms.health()).toEqual({ ok: false, detail: error.message });
  });

  it('counts a passphrase function that throws as an outage and tries again later', async () => {
    const cause = Object.assign(new Error(`no JSON: ${PASSPHRASE}`), { code: 'EAI_AGAIN' });
    const passphrase = jest.fn<string, []>(() => PASSPHRASE);
    passphrase.mockImplementationOnce(() => {
      throw cause;
    });
    const kms = fastLocalKms(passphrase);

    const error = await rejection(kms.wrapKey(KEY, BINDING));

    expect(error).toBeInstanceOf(KmsUnavailableError);
    expect(error).toMatchObject({ code: 'ERR_KMS_UNAVAILABLE', retryable: true });
    // It may hold what it was about to return.
    expect(inspect(error, { depth: 9, showHidden: true })).not.toContain(PASSPHRASE);
    expect(error.message).toContain('EAI_AGAIN');
    await expect(kms.wrapKey(KEY, BINDING)).resolves.toBeDefined();
  });

  it('says that scrypt has no memory, which trying again does not mend', async () => {
    const limits = { ...FAST_SCRYPT, preferred: { logN: 40, r: 8, p: 1 } };
    const error = await rejection(fastLocalKms(PASSPHRASE, limits).wrapKey(KEY, BINDING));
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error.retryable).toBe(false);
    expect(error.message).toContain('MiB');
  });

  it('refuses a key that was wrapped under a key file, and says so', async () => {
    const stored = await localKms({ keyFile: await keyFile(randomBytes(32)) }).wrapKey(
      KEY,
      BINDING,
    );
    const error = await rejection(fastLocalKms(PASSPHRASE).unwrapKey(stored, BINDING));
    expect(error).toMatchObject({ code: 'ERR_KEY_UNWRAP' });
    expect(error.message).toContain('wrapped under a key file');
  });
});

describe('localKms with a key file', () => {
  const secret = randomBytes(32);

  it.each([
    ['raw bytes', secret],
    ['hexadecimal digits', secret.toString('hex')],
    ['capital hexadecimal digits and a line end', `${secret.toString('hex').toUpperCase()}\n`],
    ['base64', secret.toString('base64')],
    ['base64 and a line end of Windows', `${secret.toString('base64')}\r\n`],
  ])('reads %s as the same key', async (_, content) => {
    const stored = await localKms({ keyFile: await keyFile(secret) }).wrapKey(KEY, BINDING);
    const kms = localKms({ keyFile: await keyFile(content) });
    expect(Buffer.from(await kms.unwrapKey(stored, BINDING))).toEqual(KEY);
  });

  it.each([
    ['is empty', ''],
    ['is one byte short', secret.subarray(1)],
    ['has one byte too many', Buffer.concat([secret, Buffer.of(1)])],
    ['has a digit that is none', `g${secret.toString('hex').slice(1)}`],
    ['has base64 with bits left over', `${secret.toString('base64').slice(0, 42)}B=`],
    ['has base64 of another alphabet', `-_${'A'.repeat(41)}=`],
    ['holds something longer', 'x'.repeat(5000)],
  ])('refuses a file that %s', async (_, content) => {
    const path = await keyFile(content);
    const error = await rejection(localKms({ keyFile: path }).wrapKey(KEY, BINDING));
    expect(error).toMatchObject({ code: 'ERR_CONFIGURATION' });
    expect(error.message).toContain(path);
  });

  it.each([0o640, 0o604, 0o660, 0o666, 0o644, 0o610, 0o602])(
    'refuses a file of mode %o and says what to run',
    async (mode) => {
      const path = await keyFile(secret, mode);
      const error = await rejection(localKms({ keyFile: path }).wrapKey(KEY, BINDING));
      expect(error).toMatchObject({ code: 'ERR_CONFIGURATION' });
      expect(error.message).toContain(`chmod 600 ${path}`);
    },
  );

  it.each([0o600, 0o400])('reads a file of mode %o', async (mode) => {
    const kms = localKms({ keyFile: await keyFile(secret, mode) });
    await expect(kms.wrapKey(KEY, BINDING)).resolves.toBeDefined();
  });

  it('says which file is missing, and reads it once it is there', async () => {
    const path = join(folder, 'later.key');
    const kms = localKms({ keyFile: path });
    const error = await rejection(kms.wrapKey(KEY, BINDING));
    expect(error).toMatchObject({ code: 'ERR_CONFIGURATION' });
    expect(error.message).toContain(path);
    expect(await kms.health()).toEqual({ ok: false, detail: error.message });

    await writeFile(path, secret, { mode: 0o600 });
    await expect(kms.wrapKey(KEY, BINDING)).resolves.toBeDefined();
    expect(await kms.health()).toMatchObject({ ok: true });
  });

  it('refuses a folder', async () => {
    const error = await rejection(localKms({ keyFile: folder }).wrapKey(KEY, BINDING));
    expect(error).toMatchObject({ code: 'ERR_CONFIGURATION' });
  });

  it('tells key files apart by the KEK name', async () => {
    const first = await localKms({ keyFile: await keyFile(secret) }).wrapKey(KEY, BINDING);
    const same = await localKms({ keyFile: await keyFile(secret) }).wrapKey(KEY, BINDING);
    const other = await localKms({ keyFile: await keyFile(randomBytes(32)) }).wrapKey(KEY, BINDING);
    expect(first.kek).toBe(same.kek);
    expect(first.kek).not.toBe(other.kek);
  });

  it('refuses a key that was wrapped under a passphrase, and says so', async () => {
    const stored = await fastLocalKms(PASSPHRASE).wrapKey(KEY, BINDING);
    const kms = localKms({ keyFile: await keyFile(secret) });
    const error = await rejection(kms.unwrapKey(stored, BINDING));
    expect(error).toMatchObject({ code: 'ERR_KEY_UNWRAP' });
    expect(error.message).toContain('wrapped under a passphrase');
  });
});

describe('localKms', () => {
  it.each([
    ['nothing', {}],
    ['both sources', { passphrase: PASSPHRASE, keyFile: '/k' }],
    ['an unknown option', { passphrase: PASSPHRASE, scrypt: { logN: 1 } }],
    ['a misspelt option', { passPhrase: PASSPHRASE }],
    ['a passphrase that is undefined', { passphrase: undefined }],
    ['a passphrase that is a number', { passphrase: 123456789012 }],
    ['an empty path', { keyFile: '' }],
    ['a path that is no string', { keyFile: 7 }],
    ['no object', undefined],
    ['null', null],
  ])('refuses %s without repeating a secret', (_, options) => {
    const call = (): unknown => localKms(options as LocalKmsOptions);
    expect(call).toThrow(ConfigurationError);
    expect(call).not.toThrow(PASSPHRASE);
  });
});
