import type { Handle } from './cryptoki';
import { returnValueOf } from './return-value';
import type { Session } from './session';

/** Reads one attribute; `undefined` where the token does not know it. */
export function readAttribute(session: Session, object: Handle, type: number): Buffer | undefined {
  try {
    const [read] = session.cryptoki.C_GetAttributeValue(session.handle, object, [{ type }]);
    return read?.value;
  } catch (error) {
    // A token that does not know the attribute says so; anything else is a failure of the session.
    if (returnValueOf(error) === 'CKR_ATTRIBUTE_TYPE_INVALID') return undefined;
    throw error;
  }
}

export function readText(session: Session, object: Handle, type: number): string | undefined {
  return readAttribute(session, object, type)?.toString('utf8');
}

export function readFlag(session: Session, object: Handle, type: number): boolean | undefined {
  const value = readAttribute(session, object, type);
  return value?.length === 1 ? value[0] !== 0 : undefined;
}

/** A CK_ULONG: 4 or 8 bytes in the order of the machine, which is little-endian wherever Node.js runs. */
export function readNumber(session: Session, object: Handle, type: number): number | undefined {
  const value = readAttribute(session, object, type);
  if (value === undefined || value.length < 4) return undefined;
  return value.readUInt32LE(0);
}
