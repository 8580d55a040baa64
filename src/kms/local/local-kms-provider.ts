import type { KeyObject } from 'node:crypto';

import { FieldEncryptionError } from '../../errors';
import type { KeyBinding, KmsHealth, KmsProvider, WrappedKey } from '../kms-provider';

import type { PassphraseExamination } from './passphrase';
import { openKey, sealKey } from './wrapped-form';

/** A KEK ready to wrap with. */
export interface KekForWrapping {
  readonly kek: KeyObject;
  /** What the key record calls it. */
  readonly name: string;
  /** Stored in front of the sealed key: all that is needed to find the KEK again. */
  readonly header: Uint8Array;
}

/** A KEK found for a wrapped key. */
export interface KekForUnwrapping {
  readonly kek: KeyObject;
  readonly header: Uint8Array;
  readonly sealed: Uint8Array;
  /** Told whether the KEK opened the key. */
  readonly report: (opened: boolean) => void;
}

/** Where the local KMS has its key-encryption key from. */
export interface LocalKek {
  forWrapping(): Promise<KekForWrapping>;
  /** @throws {@link KeyUnwrapError} for a wrapped key from another source */
  forUnwrapping(wrapped: Uint8Array): Promise<KekForUnwrapping>;
  /** May throw; the provider turns that into an answer. */
  health(): Promise<KmsHealth>;
  forget(): void;
  /** Tells how well a passphrase protects; for a KEK that is derived from none there is no such method. */
  examine?(): Promise<PassphraseExamination>;
}

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
