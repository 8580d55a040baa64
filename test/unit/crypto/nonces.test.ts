import crypto from 'node:crypto';

import type * as Aeads from '../../../src/crypto/aead';
import type { CipherSuite, NonceMode } from '../../../src/crypto/aead';
import type * as Nonces from '../../../src/crypto/nonces';
import type * as Xchacha from '../../../src/crypto/xchacha20-poly1305';
import type { FieldCipher } from '../../../src/field/field-cipher';
import { HEADER_BYTES } from '../../../src/format/data-key-id';
import { fieldCipher, KEY_ID } from '../../support/field-fixtures';
import type * as StaticKeys from '../../support/static-key-source';

/** More than the pool of random bytes holds at once. */
const VALUES = 1500;
const NONCE_BYTES = 24;
const PREFIX_BYTES = 12;

interface Tried {
  readonly suite: CipherSuite;
  readonly implementation?: 'sodium' | 'noble';
}

interface Copy {
  readonly email: FieldCipher;
  readonly phone: FieldCipher;
}

/** A copy of one process image: modules of its own, and a generator that begins where the others do. */
function startCopy(
  nonces: NonceMode,
  { suite, implementation }: Tried = { suite: 'xaes-256-gcm' },
): Copy {
  const generator = crypto.createCipheriv('aes-256-ctr', Buffer.alloc(32), Buffer.alloc(16));
  jest.spyOn(crypto, 'randomFillSync').mockImplementation(((target: Buffer) => {
    target.set(generator.update(Buffer.alloc(target.length)));
    return target;
  }) as unknown as typeof crypto.randomFillSync);
  let copy: Copy | undefined;
  jest.isolateModules(() => {
    const { createAead } = jest.requireActual<typeof Aeads>('../../../src/crypto/aead');
    const { createXchacha20Poly1305 } = jest.requireActual<typeof Xchacha>(
      '../../../src/crypto/xchacha20-poly1305',
    );
    const { noncesFor } = jest.requireActual<typeof Nonces>('../../../src/crypto/nonces');
    const { staticKey, StaticKeySource } = jest.requireActual<typeof StaticKeys>(
      '../../support/static-key-source',
    );
    const key = Buffer.alloc(32, 1);
    const aead =
      implementation === undefined
        ? createAead(suite, key, nonces)
        : createXchacha20Poly1305(key, noncesFor(nonces, key), implementation);
    const keys = new StaticKeySource([staticKey({ id: KEY_ID, suite, aead })]);
    const storage = 'binary';
    copy = {
      email: fieldCipher({ storage, fieldId: 'Patient.email' }, { keys }),
      phone: fieldCipher({ storage, fieldId: 'Patient.phone' }, { keys }),
    };
  });
  return copy!;
}

function nonceOf(stored: unknown): string {
  return (stored as Buffer).toString('hex', HEADER_BYTES, HEADER_BYTES + NONCE_BYTES);
}

/** The nonces that a new copy makes for these values. */
function noncesOf(mode: NonceMode, values: readonly string[], tried?: Tried): string[] {
  const { email } = startCopy(mode, tried);
  return values.map((value) => nonceOf(email.encrypt(value)));
}

const written = (by: string): string[] =>
  Array.from({ length: VALUES }, (_, i) => `${by} ${String(i)}`);

describe.each<Tried>([
  { suite: 'xaes-256-gcm' },
  { suite: 'xchacha20-poly1305', implementation: 'sodium' },
  { suite: 'xchacha20-poly1305', implementation: 'noble' },
])('Two copies of a process that draw the same random bytes: %j', (tried) => {
  it('share every nonce where nonces are random, and none where they are hedged', () => {
    const [a, b] = [written('a'), written('b')];
    expect(noncesOf('random', a, tried)).toEqual(noncesOf('random', b, tried));

    const hedged = [...noncesOf('hedged', a, tried), ...noncesOf('hedged', b, tried)];
    expect(new Set(hedged).size).toBe(2 * VALUES);
  });

  it('share none for one value in two fields', () => {
    const inEmail = nonceOf(startCopy('hedged', tried).email.encrypt('Ada'));
    const inPhone = nonceOf(startCopy('hedged', tried).phone.encrypt('Ada'));
    expect(inEmail).not.toBe(inPhone);
  });

  it('show that a message is the same in both, and can be read by the one what the other wrote', () => {
    const a = startCopy('hedged', tried).email;
    const ofA = [a.encrypt('Ada'), a.encrypt('Bob')];
    const b = startCopy('hedged', tried).email;
    expect(b.encrypt('Ada')).toEqual(ofA[0]);
    expect(ofA.map((stored) => b.decrypt(stored))).toEqual(['Ada', 'Bob']);
  });
});

describe('Hedged nonces of xaes-256-gcm', () => {
  it('keep the random first half for many messages, in both copies, and derive the second', () => {
    const nonces = [...noncesOf('hedged', written('a')), ...noncesOf('hedged', written('b'))];
    expect(new Set(nonces.map((nonce) => nonce.slice(0, 2 * PREFIX_BYTES))).size).toBe(1);
    expect(new Set(nonces.map((nonce) => nonce.slice(2 * PREFIX_BYTES))).size).toBe(2 * VALUES);
  });

  it('differ for one message, as long as the generator does not repeat itself', () => {
    const nonces = noncesOf('hedged', Array<string>(VALUES).fill('Ada'));
    expect(new Set(nonces).size).toBe(VALUES);
  });
});
