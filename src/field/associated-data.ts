import { LABELS } from '../crypto/labels';
import { lengthPrefixed } from '../encoding/length-prefixed';
import type { DataKey } from '../keys/key-source';

/**
 * The associated data of one field's ciphertexts, prepared once for each data key:
 * `lengthPrefixed(label, header, application, fieldId)`.
 *
 * It binds a ciphertext to the application and field it was made for, and to the format and key that its
 * header names.
 */
export class AssociatedData {
  readonly #application: string;
  readonly #fieldId: string;
  /** Weak, so that keys that the key manager has dropped are not kept alive. */
  readonly #byKey = new WeakMap<DataKey, Uint8Array>();

  constructor(application: string, fieldId: string) {
    this.#application = application;
    this.#fieldId = fieldId;
  }

  forKey(key: DataKey): Uint8Array {
    const known = this.#byKey.get(key);
    if (known !== undefined) return known;

    const made = lengthPrefixed([
      LABELS.fieldAssociatedData,
      key.header,
      this.#application,
      this.#fieldId,
    ]);
    this.#byKey.set(key, made);
    return made;
  }
}
