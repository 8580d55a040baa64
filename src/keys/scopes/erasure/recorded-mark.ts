import { KeyStateError } from '../../../errors';
import type { KeyServices } from '../../key-services';
import type { MarkPurpose, ScopeKeyRecord } from '../../record/scope-key-record';

/** The entry of the audit log that is the last one about a mark while it stands. */
export const BEGINNINGS = {
  erasure: { operation: 'shred', outcome: 'started' },
  hold: { operation: 'hold', outcome: 'done' },
} as const;

/**
 * Refuses a mark that was ended, and whose row of before was put back: the last entry of the audit log about it has
 * to be that of its beginning. Where nothing is recorded, nothing tells.
 *
 * @throws {@link KeyStateError}
 */
export async function requireRecorded<C>(
  { audit }: KeyServices<C>,
  mark: ScopeKeyRecord,
  connection?: C,
): Promise<void> {
  const entry = await audit?.lastAbout(mark.id, connection);
  if (entry === undefined) return;
  const purpose: MarkPurpose = mark.purpose === 'hold' ? 'hold' : 'erasure';
  const { operation, outcome } = BEGINNINGS[purpose];
  if (entry?.operation === operation && entry.outcome === outcome) return;
  throw putBack(mark, purpose, entry?.operation);
}

function putBack(
  { id, kind }: ScopeKeyRecord,
  purpose: MarkPurpose,
  operation: string | undefined,
): KeyStateError {
  const [name, remedy] = REMEDIES[purpose];
  const last = operation === undefined ? 'no entry' : `"${operation}" as the last entry`;
  return new KeyStateError(
    `The audit log has ${last} about the ${name} of the ${kind} (mark ${id}): it had ended, or never begun, and its ` +
      `row was put back past the library. ${remedy}`,
    { keyId: id },
  );
}

const REMEDIES = {
  erasure: [
    'requested erasure',
    'Nothing was erased. Cancel it, and request it anew if it is due.',
  ],
  hold: ['legal hold', 'Nothing was erased. Release it, unless it is to be kept.'],
} as const;
