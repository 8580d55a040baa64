import type {
  NativeBinding,
  NativeDataKey,
  NativeForm,
  NativeOpen,
  NativeSeal,
} from '../crypto/native';
import { NATIVE_FORMS, NATIVE_MAX_BYTES, NO_TYPE_TAG } from '../crypto/native';
import type { OpenedValue, ValueContent, ValueType } from '../encoding/value-codec';
import { TYPE_TAGS } from '../encoding/value-codec';
import type { DataKey } from '../keys/key-source';

import type { AssociatedData } from './associated-data';
import type { FieldPolicy } from './field-policy';

const FORMS: Readonly<Record<ValueType, NativeForm>> = Object.freeze({
  string: NATIVE_FORMS.text,
  json: NATIVE_FORMS.text,
  number: NATIVE_FORMS.float64,
  date: NATIVE_FORMS.float64,
  bigint: NATIVE_FORMS.raw,
  boolean: NATIVE_FORMS.raw,
  bytes: NATIVE_FORMS.raw,
});

/** The values of one field in the add-on, by data key. */
export class NativeValues {
  readonly #policy: FieldPolicy;
  readonly #associatedData: AssociatedData;
  /** Weak, so that the add-on's keys are freed with those that the key manager drops. */
  readonly #byKey = new WeakMap<DataKey, NativeKeyValues>();

  constructor(policy: FieldPolicy, associatedData: AssociatedData) {
    this.#policy = policy;
    this.#associatedData = associatedData;
  }

  /** Returns `undefined` for a key that the add-on does not have. */
  forKey(key: DataKey): NativeKeyValues | undefined {
    if (key.native === undefined) return undefined;
    const known = this.#byKey.get(key);
    if (known !== undefined) return known;
    const made = new NativeKeyValues(key.native, this.#policy, this.#associatedData.forKey(key));
    this.#byKey.set(key, made);
    return made;
  }
}

/**
 * The values of one field under one data key. The functions of the add-on that seal and open them are made
 * on first use. Each returns `undefined` for a value that is left to JavaScript.
 */
class NativeKeyValues {
  readonly #key: NativeDataKey;
  readonly #policy: FieldPolicy;
  readonly #associatedData: Uint8Array;
  #seal: NativeSeal | undefined;
  #open: NativeOpen | undefined;
  #sealRaw: NativeSeal | undefined;
  #openRaw: NativeOpen | undefined;

  constructor(key: NativeDataKey, policy: FieldPolicy, associatedData: Uint8Array) {
    this.#key = key;
    this.#policy = policy;
    this.#associatedData = associatedData;
  }

  seal(content: ValueContent): string | Buffer | undefined {
    if (content.length > NATIVE_MAX_BYTES) return undefined;
    this.#seal ??= this.#key.sealer(...this.#binding(FORMS[this.#policy.type]));
    return this.#seal?.(content);
  }

  open(stored: unknown): OpenedValue | undefined {
    this.#open ??= this.#key.opener(...this.#binding(FORMS[this.#policy.type]));
    return this.#open?.(stored);
  }

  sealRaw(encoded: Uint8Array): string | Buffer | undefined {
    this.#sealRaw ??= this.#key.sealer(...this.#binding(NATIVE_FORMS.raw, NO_TYPE_TAG));
    return this.#sealRaw?.(encoded);
  }

  openRaw(stored: unknown): Buffer | undefined {
    this.#openRaw ??= this.#key.opener(...this.#binding(NATIVE_FORMS.raw, NO_TYPE_TAG));
    return this.#openRaw?.(stored) as Buffer | undefined;
  }

  #binding(form: NativeForm, tag = TYPE_TAGS[this.#policy.type]): NativeBinding {
    return [this.#associatedData, tag, this.#policy.storage === 'text', form];
  }
}
