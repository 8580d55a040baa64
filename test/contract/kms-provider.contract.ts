import { randomBytes } from 'node:crypto';
import { inspect } from 'node:util';

import { KeyUnwrapError } from '../../src/errors';
import { isAuthenticated } from '../../src/kms/kms-provider';
import type { KeyBinding, KmsProvider, WrappedKey } from '../../src/kms/kms-provider';

/** A provider, and what is particular about it. */
export interface KmsProviderUnderTest {
  readonly kms: KmsProvider;
  /** A provider of the same kind with another KEK. */
  readonly stranger: KmsProvider;
  /** Secrets of the configuration, which must not show anywhere. */
  readonly secrets: readonly string[];
  close(): Promise<void>;
}

const BINDING: KeyBinding = {
  application: 'clinic',
  keyId: '0123456789abcdef',
  keyName: 'default',
  purpose: 'data',
};

/** What every KMS provider must do. */
export function kmsProviderContract(open: () => Promise<KmsProviderUnderTest>): void {
  let subject: KmsProviderUnderTest;
  let key: Buffer;

  beforeEach(async () => {
    subject = await open();
    key = randomBytes(32);
  });

  afterEach(async () => {
    await subject.close();
  });

  const wrap = (): Promise<WrappedKey> => subject.kms.wrapKey(key, BINDING);

  async function expectNotToUnwrap(wrapped: WrappedKey, binding = BINDING): Promise<void> {
    const error: unknown = await subject.kms.unwrapKey(wrapped, binding).then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(error).toBeInstanceOf(KeyUnwrapError);
    expect(error).toMatchObject({ code: 'ERR_KEY_UNWRAP', retryable: false });
  }

  it('has a short, stable name', () => {
    expect(subject.kms.name).toMatch(/^[a-z][a-z0-9-]{0,31}$/);
  });

  it('unwraps to exactly the bytes that were wrapped', async () => {
    const unwrapped = await subject.kms.unwrapKey(await wrap(), BINDING);
    expect(Buffer.from(unwrapped)).toEqual(key);
  });

  it('unwraps keys of every byte value', async () => {
    for (const byte of [0x00, 0xff, 0x01, 0x80]) {
      const uniform = Buffer.alloc(32, byte);
      const wrapped = await subject.kms.wrapKey(uniform, BINDING);
      expect(Buffer.from(await subject.kms.unwrapKey(wrapped, BINDING))).toEqual(uniform);
    }
  });

  it('names the KEK and stays within the lengths of a key record', async () => {
    const { kek, wrapped } = await wrap();
    expect(kek.length).toBeGreaterThan(0);
    expect(kek.length).toBeLessThanOrEqual(512);
    expect(wrapped.length).toBeGreaterThanOrEqual(40);
    expect(wrapped.length).toBeLessThanOrEqual(4096);
  });

  it('does not store the key in the open', async () => {
    const { kek, wrapped } = await wrap();
    const stored = Buffer.concat([Buffer.from(wrapped), Buffer.from(kek)]);
    for (const text of [key, key.toString('hex'), key.toString('base64')]) {
      expect(stored.includes(text)).toBe(false);
    }
  });

  it('neither changes nor keeps the key that it is given', async () => {
    const original = Buffer.from(key);
    const wrapped = await wrap();
    expect(key).toEqual(original);
    key.fill(0);
    expect(Buffer.from(await subject.kms.unwrapKey(wrapped, BINDING))).toEqual(original);
  });

  it('hands out a copy of the key at every unwrap', async () => {
    const wrapped = await wrap();
    (await subject.kms.unwrapKey(wrapped, BINDING)).fill(0);
    expect(Buffer.from(await subject.kms.unwrapKey(wrapped, BINDING))).toEqual(key);
  });

  it('does not change the wrapped bytes that it is given', async () => {
    const wrapped = await wrap();
    const before = Buffer.from(wrapped.wrapped);
    await subject.kms.unwrapKey(wrapped, BINDING);
    expect(Buffer.from(wrapped.wrapped)).toEqual(before);
  });

  it('keeps many keys apart at once', async () => {
    const keys = Array.from({ length: 20 }, () => randomBytes(32));
    const wrapped = await Promise.all(keys.map((each) => subject.kms.wrapKey(each, BINDING)));
    const unwrapped = await Promise.all(wrapped.map((w) => subject.kms.unwrapKey(w, BINDING)));
    expect(unwrapped.map((each) => Buffer.from(each))).toEqual(keys);
  });

  it('refuses a key in which any one byte was changed', async () => {
    const { kek, wrapped } = await wrap();
    for (let index = 0; index < wrapped.length; index += 1) {
      const changed = Uint8Array.from(wrapped, (byte, at) => (at === index ? byte ^ 0x01 : byte));
      await expectNotToUnwrap({ kek, wrapped: changed });
    }
  });

  it('refuses a key that was cut short or lengthened', async () => {
    const { kek, wrapped } = await wrap();
    for (const length of [0, 1, 8, 16, wrapped.length - 8, wrapped.length - 1]) {
      await expectNotToUnwrap({ kek, wrapped: wrapped.slice(0, length) });
    }
    await expectNotToUnwrap({ kek, wrapped: Buffer.concat([wrapped, Buffer.alloc(1)]) });
    await expectNotToUnwrap({ kek, wrapped: Buffer.concat([wrapped, Buffer.alloc(8)]) });
  });

  it('refuses bytes that it never made', async () => {
    const { kek } = await wrap();
    for (const length of [1, 40, 157, 4096]) {
      await expectNotToUnwrap({ kek, wrapped: randomBytes(length) });
    }
  });

  it('refuses a key that was wrapped under another KEK', async () => {
    await expectNotToUnwrap(await subject.stranger.wrapKey(key, BINDING));
  });

  it('refuses a key under any other binding', async () => {
    const wrapped = await wrap();
    await expectNotToUnwrap(wrapped, { ...BINDING, application: 'other' });
    await expectNotToUnwrap(wrapped, { ...BINDING, keyId: 'fedcba9876543210' });
    await expectNotToUnwrap(wrapped, { ...BINDING, keyName: 'medical' });
    await expectNotToUnwrap(wrapped, { ...BINDING, purpose: 'index' });
    await expectNotToUnwrap(wrapped, {
      ...BINDING,
      application: 'clinic0',
      keyId: '123456789abcdef',
    });
  });

  it('vouches for what it wraps: nobody without the KMS could have', async () => {
    expect(isAuthenticated(subject.kms, await wrap())).toBe(true);
  });

  it('goes on after a key that did not unwrap', async () => {
    const wrapped = await wrap();
    await expectNotToUnwrap({ kek: wrapped.kek, wrapped: randomBytes(64) });
    expect(Buffer.from(await subject.kms.unwrapKey(wrapped, BINDING))).toEqual(key);
  });

  it('says of its health who answers, and what it may do once it has done it', async () => {
    await subject.kms.unwrapKey(await wrap(), BINDING);
    const health = await subject.kms.health();
    expect(health).toMatchObject({ ok: true, reachable: true, authenticated: true });
    expect(health).toMatchObject({ mayWrap: true, mayUnwrap: true });
    expect(health.detail).toMatch(/^[^\n]+$/);
  });

  it('answers many who ask for its health at once', async () => {
    const answers = await Promise.all(Array.from({ length: 10 }, () => subject.kms.health()));
    expect(answers.map(({ ok }) => ok)).toEqual(Array.from({ length: 10 }, () => true));
  });

  it('closes, and closes again', async () => {
    await wrap();
    await subject.kms.close?.();
    await expect(Promise.resolve(subject.kms.close?.())).resolves.toBeUndefined();
  });

  it('shows no secret when it is printed, serialized or fails', async () => {
    const { kek, wrapped } = await wrap();
    const failure: unknown = await subject.kms
      .unwrapKey({ kek, wrapped: randomBytes(64) }, BINDING)
      .catch((error: unknown) => error);
    const printed = [subject.kms, await subject.kms.health(), failure]
      .flatMap((thing) => [inspect(thing, { depth: 20, showHidden: true }), JSON.stringify(thing)])
      .concat(kek, Buffer.from(wrapped).toString('latin1'))
      .join('\n');
    for (const secret of [...subject.secrets, key.toString('hex'), key.toString('base64')]) {
      expect(printed).not.toContain(secret);
    }
  });
}
