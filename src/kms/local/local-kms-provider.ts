import { FieldEncryptionError } from '../../errors';
import type { KeyBinding, KmsHealth, KmsProvider, WrappedKey } from '../kms-provider';
import type { LocalKek } from './local-kek';
import type { PassphraseExamination } from './passphrase-strength';
import { openKey, sealKey } from './sealed-key';

/** Wraps keys in this process, under a KEK from a {@link LocalKek}. */
export class LocalKmsProvider implements KmsProvider {
  readonly name = 'local';
  readonly #kek: LocalKek;

  constructor(kek: LocalKek) {
    this.#kek = kek;
  }

  get hasPassphrase(): boolean {
    return this.#kek.examine !== undefined;
  }

  /**
   * How well the passphrase protects; `undefined` where there is none. Takes a derivation.
   *
   * @throws {@link ConfigurationError}, {@link KmsUnavailableError} when there is no passphrase to be had
   */
  async examinePassphrase(): Promise<PassphraseExamination | undefined> {
    return this.#kek.examine?.();
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
