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

/** Returns the error of a scope by the mark of its erasure. */
export function erasedError({ id, kind, state, since }: ScopeKeyRecord): ErasedError {
  const date = since.toISOString();
  return new ErasedError(
    state === 'erased'
      ? `the keys of a ${kind} were erased at ${date}, and with them all that they have encrypted.`
      : `the keys of a ${kind} are to be erased since ${date}: its values can be read and nothing be written. ` +
          'Cancel the erasure to stop that.',
    { keyId: id },
  );
}
