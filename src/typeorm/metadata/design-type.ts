import { types } from 'node:util';

import { Sealed } from '../../field/sealed';
import { NOT_EMITTED } from '../declare/column-guard';
import type { EncryptedType } from '../declare/column-options';

import type { Refusal } from './column-checks';

/** Returns the type of values by the class that the compiler has emitted for a property. */
export function typeOfDesign(designType: unknown, refuse: Refusal): EncryptedType {
  switch (designType) {
    // A guess would store cleartext of another type, such as the text of a date, as what it is not.
    case NOT_EMITTED:
      return refuse(
        'has no type that is known here: the compiler or loader emits no decorator metadata. ' +
          "Name the type: @Encrypted({ type: 'string' }).",
      );
    // Not decorated, or a union such as `string | null`. Other values are refused when written.
    case undefined:
    case Object:
    case String:
      return 'string';
    case Number:
      return 'number';
    case BigInt:
      return 'bigint';
    case Boolean:
      return 'boolean';
    case Date:
      return 'date';
    case Sealed:
      return refuse(
        "is sealed, which says nothing of the value within. Name its type: @Encrypted({ read: 'sealed', type: 'string' }).",
      );
    default:
      if (isBytesClass(designType)) return 'bytes';
      return refuse("has an object or array type, which needs @Encrypted({ type: 'json' }).");
  }
}

function isBytesClass(designType: unknown): boolean {
  return (
    typeof designType === 'function' &&
    (designType === Uint8Array || types.isUint8Array(designType.prototype) || designType === Buffer)
  );
}
