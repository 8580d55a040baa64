import { FieldEncryptionError } from '../../../errors';
import type { FieldEncryptionErrorCode } from '../../../errors';

import type { Scope } from '../../record/scope';
import { scopeOf } from '../../record/scope-key-record';
import type { MarkPurpose, ScopeKeyRecord } from '../../record/scope-key-record';
import type { KeysOfScopes } from '../keys-of-scopes';

/** A legal hold on a scope, or the request of its erasure. */
export interface MarkedScope extends Scope {
  readonly mark: MarkPurpose;
  /** By which the audit log names it. */
  readonly markId: string;
  readonly since: Date;
  /** For an erasure, the time from which it is possible; `null` for a hold. */
  readonly erasableFrom: Date | null;
  /** Why the mark does not prove itself; `undefined` if it does. */
  readonly failure: FieldEncryptionErrorCode | undefined;
}

/** Returns the marks of scopes that are in force, by kind and id, at most `limit`. */
export async function markedScopes<C>(
  { ring, marks, store }: KeysOfScopes<C>,
  page: { readonly kind: string | undefined; readonly limit: number },
): Promise<MarkedScope[]> {
  const records = await store.findMarks(page);
  await ring.loadBranches(records);
  return records.map((record) => {
    const { purpose, id: markId, since } = record;
    const mark = purpose === 'hold' ? 'hold' : 'erasure';
    const found = { ...scopeOf(record), mark, markId, since } as const;
    try {
      const erasableFrom = mark === 'hold' ? provenHold(record) : marks.erasableFrom(record);
      return { ...found, erasableFrom, failure: undefined };
    } catch (error) {
      if (!(error instanceof FieldEncryptionError)) throw error;
      return { ...found, erasableFrom: null, failure: error.code };
    }
  });

  function provenHold(record: ScopeKeyRecord): null {
    ring.proveMark(record);
    return null;
  }
}
