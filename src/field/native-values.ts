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
import { isBoundField } from './field-policy';
import type { FieldPolicy } from './field-policy';
import { isFromBeforeScopes } from './row-context';

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

  /** Returns `undefined` for a key that the add-on does not have, or whose values it does not know the context of. */
  forKey(key: DataKey): NativeKeyValues | undefined {
    if (key.native === undefined || isFromBeforeScopes(key, this.#policy)) return undefined;
    const known = this.#byKey.get(key);
    if (known !== undefined) return known;
    const made = new NativeKeyValues(key.native, this.#policy, () =>
      isBoundField(this.#policy)
        ? this.#associatedData.beforeContext(key)
        : this.#associatedData.forKey(key),
    );
    this.#byKey.set(key, made);
    return made;
  }
}

/** Seals or opens values of a field; a context is given if it is bound. */
type Seal = (content: string | Uint8Array, context: string | undefined) => ReturnType<NativeSeal>;
type Open = (stored: unknown, context: string | undefined) => ReturnType<NativeOpen>;

/**
 * The values of one field under one data key. The functions of the add-on that seal and open them are made
 * on first use. Each method returns `undefined` for a value that is left to JavaScript. A context is that of
 * the row, given exactly if the field is bound to its row.
 */
class NativeKeyValues {
  readonly #key: NativeDataKey;
  readonly #policy: FieldPolicy;
  readonly #associatedData: () => Uint8Array;
  #seal: Seal | undefined;
  #open: Open | undefined;
  #sealRaw: Seal | undefined;
  #openRaw: Open | undefined;

  constructor(key: NativeDataKey, policy: FieldPolicy, associatedData: () => Uint8Array) {
    this.#key = key;
    this.#policy = policy;
    this.#associatedData = associatedData;
  }

  seal(content: ValueContent, context: string | undefined): string | Buffer | undefined {
    if (content.length > NATIVE_MAX_BYTES) return undefined;
    this.#seal ??= this.#sealer(this.#typed);
    return this.#seal?.(content, context);
  }

  open(stored: unknown, context: string | undefined): OpenedValue | undefined {
    this.#open ??= this.#opener(this.#typed);
    return this.#open?.(stored, context);
  }

  sealRaw(encoded: Uint8Array, context: string | undefined): string | Buffer | undefined {
    this.#sealRaw ??= this.#sealer(RAW);
    return this.#sealRaw?.(encoded, context);
  }

  openRaw(stored: unknown, context: string | undefined): Buffer | undefined {
    this.#openRaw ??= this.#opener(RAW);
    return this.#openRaw?.(stored, context) as Buffer | undefined;
  }

  get #typed(): ValueForm {
    return [TYPE_TAGS[this.#policy.type], FORMS[this.#policy.type]];
  }

  #sealer(form: ValueForm): Seal | undefined {
    const method = isBoundField(this.#policy) ? 'rowSealer' : 'sealer';
    return this.#key[method](...this.#binding(form)) as Seal | undefined;
  }

  #opener(form: ValueForm): Open | undefined {
    const method = isBoundField(this.#policy) ? 'rowOpener' : 'opener';
    return this.#key[method](...this.#binding(form)) as Open | undefined;
  }

  #binding([tag, form]: ValueForm): NativeBinding {
    return [this.#associatedData(), tag, this.#policy.storage === 'text', form];
  }
}

type ValueForm = readonly [tag: number, form: NativeForm];

const RAW: ValueForm = [NO_TYPE_TAG, NATIVE_FORMS.raw];
