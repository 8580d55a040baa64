import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';

import * as pkcs11js from 'pkcs11js';

import { createAead } from '../../../../src/crypto/aead';
import { hkdfSha256 } from '../../../../src/crypto/hmac';
import { openBytes } from '../../../../src/crypto/gcm';
import { lengthPrefixed } from '../../../../src/encoding/length-prefixed';
import { ConfigurationError, KeyUnwrapError } from '../../../../src/errors';
import type { Pkcs11KmsOptions } from '../../../../src/kms/pkcs11';
import { kekLabel, kekVersion } from '../../../../src/kms/pkcs11/kek';
import { failing, openWatched, watched } from '../../../support/pkcs11-faults';
import type { TestModule, TokenAccess } from '../../../support/pkcs11-modules';
import { asUser, nss, softHsm } from '../../../support/pkcs11-modules';
import { BINDING, describeOn, KEY, rejection } from '../../../support/pkcs11-suite';

const { CKA_ENCRYPT, CKA_DECRYPT, CKA_WRAP, CKA_UNWRAP } = pkcs11js;

/** A KEK as an administrator should make it, apart from `changes`. */
function template(label: string, changes: Readonly<Record<number, unknown>> = {}) {
  const attributes: Record<number, unknown> = {
    [pkcs11js.CKA_CLASS]: pkcs11js.CKO_SECRET_KEY,
    [pkcs11js.CKA_KEY_TYPE]: pkcs11js.CKK_AES,
    [pkcs11js.CKA_VALUE_LEN]: 32,
    [pkcs11js.CKA_LABEL]: label,
    [pkcs11js.CKA_TOKEN]: true,
    [pkcs11js.CKA_PRIVATE]: true,
    [pkcs11js.CKA_SENSITIVE]: true,
    [pkcs11js.CKA_EXTRACTABLE]: false,
    [CKA_ENCRYPT]: true,
    [CKA_DECRYPT]: true,
    [CKA_WRAP]: false,
    [CKA_UNWRAP]: false,
    ...changes,
  };
  return Object.entries(attributes)
    .filter(([, value]) => value !== undefined)
    .map(([type, value]) => ({ type: Number(type), value }) as pkcs11js.Attribute);
}

for (const module of [softHsm, nss]) {
  describeOn(module, 'The KEK', () => {
    let access: TokenAccess;
    let keyLabel: string;

    beforeEach(() => {
      access = module.token();
      keyLabel = `kek-${randomBytes(4).toString('hex')}`;
    });

    const open = (options: Partial<Pkcs11KmsOptions> = {}) =>
      openWatched({ ...access, keyLabel, ...options }, watched(module.admin()));

    function generate(label: string, changes: Readonly<Record<number, unknown>> = {}): void {
      const mechanism = { mechanism: pkcs11js.CKM_AES_KEY_GEN, parameter: null as never };
      onToken(module, access, (admin, session) => {
        admin.C_GenerateKey(session, mechanism, template(label, changes));
      });
    }

    function flagsOf(label: string): Record<string, boolean> {
      const { CKA_SENSITIVE, CKA_EXTRACTABLE, CKA_PRIVATE, CKA_MODIFIABLE } = pkcs11js;
      const types = {
        CKA_SENSITIVE,
        CKA_EXTRACTABLE,
        CKA_PRIVATE,
        CKA_MODIFIABLE,
        CKA_ALWAYS_SENSITIVE: pkcs11js.CKA_ALWAYS_SENSITIVE,
        CKA_NEVER_EXTRACTABLE: pkcs11js.CKA_NEVER_EXTRACTABLE,
        CKA_ENCRYPT,
        CKA_WRAP,
      };
      return onToken(module, access, (admin, session) => {
        admin.C_FindObjectsInit(session, [{ type: pkcs11js.CKA_LABEL, value: label }]);
        const [key] = admin.C_FindObjects(session, 2);
        admin.C_FindObjectsFinal(session);
        if (key === undefined) throw new Error('no such key');
        expect(() =>
          admin.C_GetAttributeValue(session, key, [{ type: pkcs11js.CKA_VALUE }]),
        ).toThrow('CKR_ATTRIBUTE_SENSITIVE');
        const read = (type: number) => admin.C_GetAttributeValue(session, key, [{ type }])[0];
        return Object.fromEntries(
          Object.entries(types).map(([name, type]) => [name, read(type)?.value[0] === 1]),
        );
      });
    }

    it.each([
      ['aes-gcm', true, false],
      ['aes-key-wrap', false, true],
    ] as const)(
      'is made in the token, for %s and nothing else, and cannot leave it',
      async (mechanism, encrypts, wraps) => {
        const kms = open({ createKey: true, mechanism });
        await kms.wrapKey(KEY, BINDING);

        expect(flagsOf(keyLabel)).toEqual({
          CKA_SENSITIVE: true,
          CKA_EXTRACTABLE: false,
          CKA_PRIVATE: true,
          CKA_MODIFIABLE: false,
          CKA_ALWAYS_SENSITIVE: true,
          CKA_NEVER_EXTRACTABLE: true,
          CKA_ENCRYPT: encrypts,
          CKA_WRAP: wraps,
        });
        await kms.close?.();
      },
    );

    it('is not made unless that is asked for', async () => {
      const kms = open();
      const error = await rejection(kms.wrapKey(KEY, BINDING));

      expect(error).toBeInstanceOf(ConfigurationError);
      expect(error.message).toContain('createKey: true');
      await kms.close?.();
    });

    it('has versions: the newest wraps, older ones unwrap, and other processes follow', async () => {
      const kms = open({ createKey: true });
      const other = open();
      const first = await kms.wrapKey(KEY, BINDING);
      await other.unwrapKey(first, BINDING);
      expect(first.kek).toContain(`object=${keyLabel};`);

      expect(await kms.rotateKek()).toContain(`object=${keyLabel}.v2;`);
      const second = await kms.wrapKey(KEY, BINDING);
      generate(`${keyLabel}.v10`);
      const tenth = await open().wrapKey(KEY, BINDING);

      expect(second.kek).toContain(`object=${keyLabel}.v2;`);
      expect(tenth.kek).toContain(`object=${keyLabel}.v10;`);
      for (const wrapped of [first, second, tenth]) {
        expect(Buffer.from(await other.unwrapKey(wrapped, BINDING))).toEqual(KEY);
      }
      await kms.close?.();
      await other.close?.();
    });

    /** NSS makes every key of a token private and sensitive, whatever the template says. */
    const careless = [
      ['can be read', { [pkcs11js.CKA_SENSITIVE]: false }, 'CKA_SENSITIVE'],
      ['needs no PIN', { [pkcs11js.CKA_PRIVATE]: false }, 'CKA_PRIVATE'],
    ] as const;

    it.each([
      ...(module === softHsm ? careless : []),
      ['could leave the token', { [pkcs11js.CKA_EXTRACTABLE]: true }, 'CKA_EXTRACTABLE'],
      ['is too short', { [pkcs11js.CKA_VALUE_LEN]: 16 }, 'not an AES key of 256 bits'],
      ['may not decrypt', { [CKA_DECRYPT]: false }, 'CKA_DECRYPT'],
    ] as const)('is refused when it %s', async (_, changes, complaint) => {
      generate(keyLabel, changes);
      const kms = open();

      const error = await rejection(kms.wrapKey(KEY, BINDING));

      expect(error).toBeInstanceOf(ConfigurationError);
      expect(error.message).toContain(complaint);
      await kms.close?.();
    });

    it('is refused when two keys have its label', async () => {
      generate(keyLabel);
      generate(keyLabel);
      const kms = open({ createKey: true });

      const error = await rejection(kms.wrapKey(KEY, BINDING));

      expect(error).toBeInstanceOf(ConfigurationError);
      expect(error.message).toContain(`several keys on the token have the label "${keyLabel}"`);
      await kms.close?.();
    });

    it('is used in the one way that is chosen, and in both where none is', async () => {
      generate(keyLabel, { [CKA_WRAP]: true, [CKA_UNWRAP]: true });
      const byEither = open();
      const byGcm = open({ mechanism: 'aes-gcm' });
      const byKeyWrap = open({ mechanism: 'aes-key-wrap' });
      const gcm = await byGcm.wrapKey(KEY, BINDING);
      const keyWrap = await byKeyWrap.wrapKey(KEY, BINDING);

      expect([gcm.wrapped[1], keyWrap.wrapped[1]]).toEqual([1, 3]);
      for (const wrapped of [gcm, keyWrap]) {
        expect(Buffer.from(await byEither.unwrapKey(wrapped, BINDING))).toEqual(KEY);
      }
      for (const refused of [
        byKeyWrap.unwrapKey(gcm, BINDING),
        byGcm.unwrapKey(keyWrap, BINDING),
      ]) {
        const error = await rejection(refused);
        expect(error).toBeInstanceOf(KeyUnwrapError);
        expect(error.message).toContain('the option mechanism');
      }
      await byEither.close?.();
      await byGcm.close?.();
      await byKeyWrap.close?.();
    });

    it('wraps by AES Key Wrap on a token that has no GCM', async () => {
      const module_ = watched(module.admin());
      module_.after.set('C_GetMechanismList', (mechanisms: number[]) =>
        mechanisms.filter((mechanism) => mechanism !== pkcs11js.CKM_AES_GCM),
      );
      const kms = openWatched({ ...access, keyLabel, createKey: true }, module_);

      const wrapped = await kms.wrapKey(KEY, BINDING);

      expect(wrapped.kek).toContain('x-mechanism=aes-key-wrap');
      expect(wrapped.wrapped).toHaveLength(6 + 40 + 72);
      await kms.close?.();
    });
  });
}

/** The associated data of a wrapped key, which begins with its header. */
function boundTo(wrapped: Buffer): Uint8Array {
  const place = ['clinic', '0123456789abcdef', 'default', 'data'];
  return lengthPrefixed([
    'typeorm-field-encryption/v1/pkcs11-kek',
    wrapped.subarray(0, 6),
    ...place,
  ]);
}

describeOn(softHsm, 'The wrapped form', () => {
  let access: TokenAccess;
  const kek = randomBytes(32);

  beforeAll(() => {
    access = softHsm.token();
    const known = (label: string, changes: Record<number, unknown>) =>
      template(label, {
        ...changes,
        [pkcs11js.CKA_VALUE_LEN]: undefined,
        [pkcs11js.CKA_VALUE]: kek,
      });
    onToken(softHsm, access, (admin, session) => {
      admin.C_CreateObject(session, known('gcm', {}));
      const wraps = {
        [CKA_ENCRYPT]: false,
        [CKA_DECRYPT]: false,
        [CKA_WRAP]: true,
        [CKA_UNWRAP]: true,
      };
      admin.C_CreateObject(session, known('wrap', wraps));
    });
  });

  const open = (keyLabel: string) => openWatched({ ...access, keyLabel }, watched(softHsm.admin()));

  it('is AES-256-GCM with a new 12-byte IV, a tag of 128 bits and the binding as AAD', async () => {
    const kms = open('gcm');
    const { wrapped } = await kms.wrapKey(KEY, BINDING);
    const again = await kms.wrapKey(KEY, BINDING);

    const bytes = Buffer.from(wrapped);
    expect(bytes).toHaveLength(6 + 12 + 32 + 16);
    expect(bytes.subarray(0, 6).toString('hex')).toBe('010100000001');
    const decipher = createDecipheriv('aes-256-gcm', kek, bytes.subarray(6, 18), {
      authTagLength: 16,
    });
    decipher.setAAD(boundTo(bytes));
    decipher.setAuthTag(bytes.subarray(50));
    expect(Buffer.concat([decipher.update(bytes.subarray(18, 50)), decipher.final()])).toEqual(KEY);
    expect(Buffer.from(again.wrapped).subarray(6, 18)).not.toEqual(bytes.subarray(6, 18));
    await kms.close?.();
  });

  it('is RFC 3394 of a new key, and the data key sealed under that, by AES Key Wrap', async () => {
    const kms = open('wrap');
    const bytes = Buffer.from((await kms.wrapKey(KEY, BINDING)).wrapped);

    expect(bytes.subarray(0, 6).toString('hex')).toBe('010300000001');
    const decipher = createDecipheriv('id-aes256-wrap', kek, Buffer.alloc(8, 0xa6));
    const inner = Buffer.concat([decipher.update(bytes.subarray(6, 46)), decipher.final()]);
    const info = lengthPrefixed(['typeorm-field-encryption/v1/bound-key', 'xaes-256-gcm']);
    const aead = createAead('xaes-256-gcm', hkdfSha256({ key: inner, info, bytes: 32 }));
    expect(openBytes(aead, bytes.subarray(46), boundTo(bytes))).toEqual(KEY);
    const again = Buffer.from((await kms.wrapKey(KEY, BINDING)).wrapped);
    expect(again.subarray(6, 46)).not.toEqual(bytes.subarray(6, 46));
    await kms.close?.();
  });

  it('is not the data key itself by AES Key Wrap, which would be bound to nothing', async () => {
    const kms = open('wrap');
    const cipher = createCipheriv('id-aes256-wrap', kek, Buffer.alloc(8, 0xa6));
    const known = Buffer.concat([cipher.update(KEY), cipher.final()]);
    const { kek: name } = await kms.wrapKey(KEY, BINDING);
    const header = Buffer.from('010200000001', 'hex');
    const unbound = { kek: name, wrapped: Buffer.concat([header, known]) };
    expect(await rejection(kms.unwrapKey(unbound, BINDING))).toBeInstanceOf(KeyUnwrapError);
    await kms.close?.();
  });

  it('opens on no token under a version that is not there, and asks for no PIN to see it is foreign', async () => {
    const kms = open('gcm');
    const { kek: name, wrapped } = await kms.wrapKey(KEY, BINDING);
    const later = Buffer.from(wrapped);
    later.writeUInt32BE(2, 2);
    const error = await rejection(kms.unwrapKey({ kek: name, wrapped: later }, BINDING));
    expect(error).toBeInstanceOf(KeyUnwrapError);
    expect(error.message).toContain('"gcm.v2"');
    await kms.close?.();

    const pin = jest.fn(() => '');
    const idle = openWatched({ ...access, pin, keyLabel: 'gcm' }, watched(softHsm.admin()));
    const foreign = idle.unwrapKey({ kek: name, wrapped: randomBytes(66) }, BINDING);
    expect(await rejection(foreign)).toBeInstanceOf(KeyUnwrapError);
    expect(pin).not.toHaveBeenCalled();
  });

  it('is refused for a token that cuts the tag short', async () => {
    const module = watched(softHsm.admin());
    module.after.set('C_Encrypt', (sealed: Buffer) => sealed.subarray(0, 44));
    const kms = openWatched({ ...access, keyLabel: 'gcm' }, module);

    expect(await rejection(kms.wrapKey(KEY, BINDING))).toBeInstanceOf(ConfigurationError);
    await kms.close?.();
  });

  it('says what the token does not allow', async () => {
    const module = watched(softHsm.admin());
    const refused = failing('CKR_MECHANISM_PARAM_INVALID', 0x71);
    module.before.set('C_EncryptInit', [refused, refused]);
    const kms = openWatched({ ...access, keyLabel: 'gcm' }, module);

    const error = await rejection(kms.wrapKey(KEY, BINDING));
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error.message).toContain('CKR_MECHANISM_PARAM_INVALID');
    await kms.close?.();
  });

  it('tries once more what may be refused because another process is still making the key', async () => {
    const module = watched(softHsm.admin());
    module.before.set('C_EncryptInit', [failing('CKR_MECHANISM_INVALID', 0x70)]);
    const kms = openWatched({ ...access, keyLabel: 'gcm' }, module);

    const wrapped = await kms.wrapKey(KEY, BINDING);
    expect(await kms.unwrapKey(wrapped, BINDING)).toEqual(Uint8Array.from(KEY));
    await kms.close?.();
  });
});

describe('The labels of the KEK', () => {
  it('stand for versions, and for nothing else', () => {
    for (const version of [1, 2, 10, 0xffffffff]) {
      expect(kekVersion('kek', kekLabel('kek', version))).toBe(version);
    }
    for (const label of [
      '',
      'ke',
      'kek.v1',
      'kek.v0',
      'kek.v02',
      'kek.v',
      'kek.v2 ',
      'kek2',
      'kek.v1e3',
    ]) {
      expect(kekVersion('kek', label)).toBeUndefined();
    }
  });
});

function onToken<T>(
  module: TestModule,
  access: TokenAccess,
  work: (admin: pkcs11js.PKCS11, session: Buffer) => T,
): T {
  const admin = module.admin();
  return asUser(admin, access, (session) => work(admin, session));
}
