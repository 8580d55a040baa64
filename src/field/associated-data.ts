import { LABELS } from '../crypto/labels';
import { lengthPrefixed, lengthPrefixedBefore } from '../encoding/length-prefixed';
import { FORMATS } from '../format/data-key-id';
import type { DataKey } from '../keys/key-source';

import { contextBytes } from './row-context';

/**
 * The associated data of one field's ciphertexts, prepared once for each data key:
 * `lengthPrefixed(label, header, application, fieldId)`, with the row's context as a fifth part if values are
 * bound to their rows.
 *
 * It binds a ciphertext to the application and field it was made for, and to the format and key that its
 * header names.
 */
export class AssociatedData {
  readonly #label: string;
  readonly #application: string;
  readonly #fieldId: string;
  /** Weak, so that keys that the key manager has dropped are not kept alive. */
  readonly #byKey = new WeakMap<DataKey, Uint8Array>();
  readonly #beforeContext = new WeakMap<DataKey, Uint8Array>();

  constructor(application: string, fieldId: string, label: string = LABELS.fieldAssociatedData) {
    this.#label = label;
    this.#application = application;
    this.#fieldId = fieldId;
  }

  /** Returns those of values that are bound to the field alone: the same array for all of them. */
  forKey(key: DataKey): Uint8Array {
    return cached(this.#byKey, key, () => lengthPrefixed(this.#parts(key.header)));
  }

  /** Returns those of values that are bound to a row, up to the length of its context. */
  beforeContext(key: DataKey): Uint8Array {
    return cached(this.#beforeContext, key, () => {
      const header = Uint8Array.from(key.header);
      header[0] = FORMATS.bound;
      return lengthPrefixedBefore(this.#parts(header));
    });
  }

  /** Returns those of a value that is bound to the row of a context, or to the field alone. */
  of(key: DataKey, context: string | undefined): Uint8Array {
    if (context === undefined) return this.forKey(key);
    const before = this.beforeContext(key);
    const length = Buffer.alloc(4);
    length.writeUInt32BE(context.length);
    return Buffer.concat([before, length, contextBytes(context)]);
  }

  #parts(header: Uint8Array): (string | Uint8Array)[] {
    return [this.#label, header, this.#application, this.#fieldId];
  }
}

function cached(
  known: WeakMap<DataKey, Uint8Array>,
  key: DataKey,
  make: () => Uint8Array,
): Uint8Array {
  const found = known.get(key);
  if (found !== undefined) return found;
  const made = make();
  known.set(key, made);
  return made;
}
