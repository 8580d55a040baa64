import type { KeyObject } from 'node:crypto';

import { FieldEncryptionError } from '../../errors';
import type { KeyBinding, KmsHealth, KmsProvider, WrappedKey } from '../kms-provider';

import type { PassphraseExamination } from './passphrase';
import { openKey, sealKey } from './wrapped-form';

/** A KEK ready to wrap with. */
export interface KekForWrapping {
  readonly kek: KeyObject;
  /** Its name in key records. */
  readonly name: string;
  /** Stored before the sealed key: all that is needed to find the KEK again. */
  readonly header: Uint8Array;
}

/** The KEK of a wrapped key. */
export interface KekForUnwrapping {
  readonly kek: KeyObject;
  readonly header: Uint8Array;
  readonly sealed: Uint8Array;
  /** Receives whether the KEK opened the key. */
  readonly report: (opened: boolean) => void;
}

/** A source of the key-encryption key. */
export interface LocalKek {
  forWrapping(): Promise<KekForWrapping>;
  /** @throws {@link KeyUnwrapError} for a wrapped key from another source */
  forUnwrapping(wrapped: Uint8Array): Promise<KekForUnwrapping>;
  /** May throw; the provider turns that into a health report. */
  health(): Promise<KmsHealth>;
  forget(): void;
  /** Examines the strength of the passphrase; missing if the KEK is not derived from one. */
  examine?(): Promise<PassphraseExamination>;
}

/** Wraps keys in this process, under a KEK from a {@link LocalKek}. */
export class LocalKmsProvider implements KmsProvider {
  readonly name = 'local';
  readonly #kek: LocalKek;

  constructor(kek: LocalKek) {
    this.#kek = kek;
  }

  get unapproved(): string | undefined {
    return this.#kek.examine === undefined ? undefined : 'scrypt of a passphrase';
  }

  /**
   * Examines the strength of the passphrase, by a derivation; `undefined` if there is none.
   *
   * @throws {@link ConfigurationError}, {@link KmsUnavailableError} if the passphrase cannot be obtained
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
