import { createHash } from 'node:crypto';

import { LABELS } from '../../../crypto/labels';
import { lengthPrefixed } from '../../../encoding/length-prefixed';
import { KeyStateError, KeyUnwrapError } from '../../../errors';
import { isDataKeyId, keyPrefix } from '../../../format/data-key-id';
import type { KeyRing } from '../../cache/key-ring';
import type { DataKey } from '../../key-source';
import type { ColumnUse } from '../../lifecycle/encrypted-rows';

import { BRANCH_NAME } from '../../record/scope';
import { openUnder, sealUnder } from '../sealed-scope-key';

/** The rows of a column that were under the keys of a scope. */
export interface ErasedRows extends Pick<ColumnUse, 'entity' | 'property' | 'rows'> {
  /** The columns of common blind indexes whose tokens were emptied in these rows. */
  readonly tokens: readonly string[];
}

/** The proof of an erasure. Its digest is the reference of an entry of the audit log. */
export interface ErasureReceipt {
  readonly application: string;
  readonly kind: string;
  readonly scope: string;
  readonly reason: string;
  /** Who erased, as in the audit log. */
  readonly actor: string;
  /** Id of the mark by which the audit log knows the scope. */
  readonly markId: string;
  /** ISO 8601, UTC, by the clock of the database, like `erasedAt`. */
  readonly requestedAt: string;
  readonly erasedAt: string;
  /** Ids of the erased keys. */
  readonly keyIds: readonly string[];
  /** The columns with rows that nobody can read any more. */
  readonly columns: readonly ErasedRows[];
  /** Digest of the receipt that was replayed; `null` for a first erasure. */
  readonly replays: string | null;
  /** Id of the branch key that has sealed the receipt. */
  readonly branchId: string;
  /** base64url; proves that this library wrote the receipt, with access to the KMS. */
  readonly seal: string;
}

/** Seals a receipt by the common branch key, all of it as associated data. */
export function sealedReceipt(
  branch: DataKey,
  fields: Omit<ErasureReceipt, 'branchId' | 'seal'>,
): ErasureReceipt {
  const receipt = { ...fields, branchId: branch.id };
  const seal = sealUnder(branch, new Uint8Array(), associatedData(receipt));
  return { ...receipt, seal: seal.toString('base64url') };
}

/**
 * Checks that this library wrote a receipt, with access to the KMS.
 *
 * @throws {@link KeyUnwrapError} for one that was edited or made up; what its branch key fails with
 */
export async function proveReceipt<C>(ring: KeyRing<C>, receipt: ErasureReceipt): Promise<void> {
  const { branchId } = receipt;
  if (!isDataKeyId(branchId)) throw madeUp(receipt);
  await ring.load([keyPrefix(branchId)]);
  const branch = ring.keyByPrefix(keyPrefix(branchId));
  const stored = { sealed: Buffer.from(receipt.seal, 'base64url'), bytes: 0 };
  const isSealed = openUnder(branch, stored, associatedData(receipt)) !== undefined;
  // Any other data key may be known to somebody: who can write to the key table, or has the KMS of one tenant.
  const isGenuine = branch.isAuthenticated && branch.name === BRANCH_NAME;
  if (!isSealed || !isGenuine) throw madeUp(receipt);
}

/** Returns the digest of a receipt, by which the audit log knows it. */
export function receiptDigest(receipt: ErasureReceipt): string {
  return createHash('sha256')
    .update(lengthPrefixed([associatedData(receipt), receipt.seal]))
    .digest('hex');
}

/** Whether a value has the form of a receipt, such as one from a file, and nothing beside it, which no seal covers. */
export function isReceipt(value: unknown): value is ErasureReceipt {
  const receipt = Object(value) as Partial<Record<keyof ErasureReceipt, unknown>>;
  const { keyIds, columns, replays } = receipt;
  return (
    holdsOnly(receipt, [...TEXTS, 'keyIds', 'columns', 'replays']) &&
    TEXTS.every((name) => isText(receipt[name])) &&
    isListOf(keyIds, isText) &&
    isListOf(columns, isErasedRows) &&
    (replays === null || isText(replays))
  );
}

const TEXTS = [
  ...(['application', 'kind', 'scope', 'reason', 'actor', 'markId'] as const),
  ...(['requestedAt', 'erasedAt', 'branchId', 'seal'] as const),
];

function isErasedRows(value: unknown): value is ErasedRows {
  const column = Object(value) as Partial<Record<keyof ErasedRows, unknown>>;
  const { entity, property, rows, tokens } = column;
  return (
    holdsOnly(column, ['entity', 'property', 'rows', 'tokens']) &&
    isText(entity) &&
    isText(property) &&
    Number.isInteger(rows) &&
    isListOf(tokens, isText)
  );
}

function holdsOnly(value: object, names: readonly string[]): boolean {
  return Reflect.ownKeys(value).every((name) => typeof name === 'string' && names.includes(name));
}

function isText(value: unknown): value is string {
  return typeof value === 'string';
}

function isListOf(value: unknown, isOne: (each: unknown) => boolean): boolean {
  return Array.isArray(value) && value.every(isOne);
}

function associatedData(receipt: Omit<ErasureReceipt, 'seal'>): Uint8Array {
  const { application, kind, scope, reason, actor, markId, requestedAt, erasedAt } = receipt;
  const { keyIds, columns, replays, branchId } = receipt;
  const rows = columns.map(({ entity, property, rows: count, tokens }) =>
    lengthPrefixed([entity, property, String(count), ...tokens]),
  );
  return lengthPrefixed([
    ...[LABELS.scopeReceipt, application, branchId, kind, scope, reason, actor, markId],
    ...[requestedAt, erasedAt, lengthPrefixed(keyIds), lengthPrefixed(rows)],
    lengthPrefixed(replays === null ? [] : [replays]),
  ]);
}

function madeUp({ branchId }: ErasureReceipt): KeyUnwrapError {
  return new KeyUnwrapError(
    `A receipt does not open under branch key ${branchId}: it was edited or made up. Nothing was erased by it. ` +
      'Take the file that was written when the scope was erased.',
  );
}

/** Returns the error of a receipt of another application. */
export function receiptOfOther({ application }: ErasureReceipt): KeyStateError {
  return new KeyStateError(
    `A receipt is of the application "${application}". Nothing was erased. Replay the receipts of this one.`,
  );
}
