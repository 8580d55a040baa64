import type {
  NativeBinding,
  NativeDataKey,
  NativeForm,
  NativeOpen,
  NativeRowOpen,
  NativeRowSeal,
  NativeSeal,
} from '../crypto/native';
import { NATIVE_FORMS, NATIVE_MAX_BYTES, NO_TYPE_TAG } from '../crypto/native';
import type { OpenedValue, ValueContent, ValueType } from '../encoding/value-codec';
import { TYPE_TAGS } from '../encoding/value-codec';
import type { DataKey } from '../keys/key-source';

import type { AssociatedData } from './associated-data';
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
    const made = new NativeKeyValues(key.native, this.#policy, {
      unbound: () => this.#associatedData.forKey(key),
      bound: () => this.#associatedData.beforeContext(key),
    });
    this.#byKey.set(key, made);
    return made;
  }
}

/** The associated data of a field's values, as the add-on takes them. */
interface NativeAssociatedData {
  unbound(): Uint8Array;
  bound(): Uint8Array;
}

/**
 * The values of one field under one data key. The functions of the add-on that seal and open them are made
 * on first use. Each method returns `undefined` for a value that is left to JavaScript. A context is that of
 * the row that the value is bound to.
 */
class NativeKeyValues {
  readonly #key: NativeDataKey;
  readonly #policy: FieldPolicy;
  readonly #associatedData: NativeAssociatedData;
  #seal: NativeSeal | undefined;
  #open: NativeOpen | undefined;
  #sealRaw: NativeSeal | undefined;
  #openRaw: NativeOpen | undefined;
  #rowSeal: NativeRowSeal | undefined;
  #rowOpen: NativeRowOpen | undefined;
  #rowSealRaw: NativeRowSeal | undefined;
  #rowOpenRaw: NativeRowOpen | undefined;

  constructor(key: NativeDataKey, policy: FieldPolicy, associatedData: NativeAssociatedData) {
    this.#key = key;
    this.#policy = policy;
    this.#associatedData = associatedData;
  }

  seal(content: ValueContent, context: string | undefined): string | Buffer | undefined {
    if (content.length > NATIVE_MAX_BYTES) return undefined;
    if (context === undefined) {
      this.#seal ??= this.#key.sealer(...this.#unbound(...this.#typed()));
      return this.#seal?.(content);
    }
    this.#rowSeal ??= this.#key.rowSealer(...this.#bound(...this.#typed()));
    return this.#rowSeal?.(content, context);
  }

  open(stored: unknown, context: string | undefined): OpenedValue | undefined {
    if (context === undefined) {
      this.#open ??= this.#key.opener(...this.#unbound(...this.#typed()));
      return this.#open?.(stored);
    }
    this.#rowOpen ??= this.#key.rowOpener(...this.#bound(...this.#typed()));
    return this.#rowOpen?.(stored, context);
  }

  sealRaw(encoded: Uint8Array, context: string | undefined): string | Buffer | undefined {
    if (context === undefined) {
      this.#sealRaw ??= this.#key.sealer(...this.#unbound(...RAW));
      return this.#sealRaw?.(encoded);
    }
    this.#rowSealRaw ??= this.#key.rowSealer(...this.#bound(...RAW));
    return this.#rowSealRaw?.(encoded, context);
  }

  openRaw(stored: unknown, context: string | undefined): Buffer | undefined {
    if (context === undefined) {
      this.#openRaw ??= this.#key.opener(...this.#unbound(...RAW));
      return this.#openRaw?.(stored) as Buffer | undefined;
    }
    this.#rowOpenRaw ??= this.#key.rowOpener(...this.#bound(...RAW));
    return this.#rowOpenRaw?.(stored, context) as Buffer | undefined;
  }

  #typed(): ValueForm {
    return [TYPE_TAGS[this.#policy.type], FORMS[this.#policy.type]];
  }

  #unbound(tag: number, form: NativeForm): NativeBinding {
    return [this.#associatedData.unbound(), tag, this.#policy.storage === 'text', form];
  }

  #bound(tag: number, form: NativeForm): NativeBinding {
    return [this.#associatedData.bound(), tag, this.#policy.storage === 'text', form];
  }
}

type ValueForm = [tag: number, form: NativeForm];

const RAW: ValueForm = [NO_TYPE_TAG, NATIVE_FORMS.raw];
