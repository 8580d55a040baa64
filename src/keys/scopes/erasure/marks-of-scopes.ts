import { ErasedError } from '../../../errors';

import { scopeSlot } from '../../record/scope';
import { isMark, scopeOf } from '../../record/scope-key-record';
import type { ScopeKeyRecord } from '../../record/scope-key-record';

/** Returns the marks among some records by the slot of their scope. */
export function marksByScope(
  records: readonly ScopeKeyRecord[],
): ReadonlyMap<string, readonly ScopeKeyRecord[]> {
  const marks = new Map<string, ScopeKeyRecord[]>();
  for (const record of records.filter(isMark)) {
    const slot = scopeSlot(scopeOf(record));
    marks.set(slot, [...(marks.get(slot) ?? []), record]);
  }
  return marks;
}

/** A scope is to be erased, which can be cancelled. To callers, an {@link ErasedError} like any other. */
export class ToBeErasedError extends ErasedError {
  override readonly name = 'ErasedError';
}

/** Returns the error of a scope by the mark of its erasure. */
export function erasedError({ id, kind, state, since }: ScopeKeyRecord): ErasedError {
  const date = since.toISOString();
  return state === 'erased'
    ? new ErasedError(
        `the keys of a ${kind} were erased at ${date}, and with them all that they have encrypted. Nothing is written ` +
          "or looked up for it; with the option onErased: 'null' its rows are read, without these values. Delete the " +
          'rows when nothing needs them any more.',
        { keyId: id },
      )
    : new ToBeErasedError(
        `the erasure of a ${kind} was requested at ${date}: its values can still be read, but none can be written. ` +
          'If it was requested by mistake, cancel it.',
        { keyId: id },
      );
}
