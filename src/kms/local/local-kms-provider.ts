import { FieldEncryptionError } from '../../errors';
import type { KeyBinding, KmsHealth, KmsProvider, WrappedKey } from '../kms-provider';
import type { LocalKek } from './local-kek';
import { openKey, sealKey } from './sealed-key';

/** Wraps keys in this process, under a KEK from a {@link LocalKek}. */
export class LocalKmsProvider implements KmsProvider {
  readonly name = 'local';
  readonly #kek: LocalKek;

  constructor(kek: LocalKek) {
    this.#kek = kek;
  }

  async wrapKey(key: Uint8Array, binding: KeyBinding): Promise<WrappedKey> {
    const { kek, header, name } = await this.#kek.forWrapping();
    const sealed = sealKey(kek, key, header, binding);
    return { kek: name, wrapped: Buffer.concat([header, sealed]) };
  }

  async unwrapKey({ wrapped }: WrappedKey, binding: KeyBinding): Promise<Uint8Array> {
    const { kek, header, sealed, report } = await this.#kek.forUnwrapping(wrapped);
    try {
      const key = openKey(kek, sealed, header, binding);
      report(true);
      return key;
    } catch (error) {
      report(false);
      throw error;
    }
  }

  async health(): Promise<KmsHealth> {
    try {
      return await this.#kek.health();
    } catch (error) {
      const detail =
        error instanceof FieldEncryptionError ? error.message : 'the KEK is not to be had';
      return { ok: false, detail };
    }
  }

  close(): Promise<void> {
    this.#kek.forget();
    return Promise.resolve();
  }
}
