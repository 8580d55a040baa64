import type { Mechanism, Session } from '../../../../src/kms/pkcs11/cryptoki';
import { KEY_WRAPS } from '../../../../src/kms/pkcs11/key-wrap';

// A generator as after a copy of the process: it gives what it has given before.
jest.mock('node:crypto', () => ({
  ...jest.requireActual('node:crypto'),
  randomFillSync: (target: Buffer) => target.fill(7),
}));

const BOUND = Buffer.from('what the key belongs to');

/** The IV that AES-GCM on a token is told to wrap a key with. */
function ivFor(key: Buffer, associatedData = BOUND): string {
  const [aesGcm] = KEY_WRAPS;
  let iv = '';
  const cryptoki = {
    C_EncryptInit: (_session: unknown, { parameter }: Mechanism) => {
      iv = (parameter as { iv: Buffer }).iv.toString('hex');
    },
    C_Encrypt: (_session: unknown, _input: Buffer, output: Buffer) => output,
  };
  const session = { cryptoki, handle: 1 } as unknown as Session;
  const wrapped = aesGcm!.wrap(session, 2 as never, key, associatedData);
  expect(Buffer.from(wrapped.subarray(0, 12)).toString('hex')).toBe(iv);
  return iv;
}

describe('AES-GCM on a token', () => {
  it('has an IV of its own for each key and what it belongs to, though the generator repeats itself', () => {
    const ivs = [
      ivFor(Buffer.alloc(32, 1)),
      ivFor(Buffer.alloc(32, 2)),
      ivFor(Buffer.alloc(32, 2), Buffer.from('something else')),
    ];
    expect(new Set(ivs).size).toBe(3);
    expect(ivFor(Buffer.alloc(32, 1))).toBe(ivs[0]);
  });
});
