import { ConfigurationError, KeyNotFoundError, KeyStateError } from '../../../errors';
import type { KeyServices } from '../../key-services';

import { isReceipt, receiptDigest, receiptOfOther } from './erasure-receipt';
import type { ErasureReceipt } from './erasure-receipt';
import type { KeysOfScopes } from '../keys-of-scopes';
import { eraseMarked } from './scope-erasure';
import type { ScopeRows } from './scope-erasure';

/** What a replay does, or would do, with the scope of a receipt. */
export type ReplayStep = 'due' | 'erased' | 'held' | 'unproven';

/** The result of a replay. */
export interface ReplayReport {
  /** The receipts of this time; each names the digest of the one that was replayed. */
  readonly erased: readonly ErasureReceipt[];
  /** The given receipts of scopes that are erased as they were. */
  readonly stillErased: readonly ErasureReceipt[];
  /** The given receipts of scopes under a legal hold, which were not erased. */
  readonly held: readonly ErasureReceipt[];
  /** The given receipts whose branch key is gone, so that nothing proves them; nothing was done by them. */
  readonly unproven: readonly ErasureReceipt[];
}

/** Options of a replay. */
export interface ReplayTrust {
  /** Takes the caller's word for receipts whose branch key is gone. Defaults to `false`. */
  readonly acceptUnproven?: boolean | undefined;
}

/**
 * Returns what a replay is to do with the scope of a receipt.
 *
 * @throws {@link ConfigurationError} for a value that is no receipt, {@link KeyStateError} for one of another
 * application, {@link KeyUnwrapError} for one that was edited or made up
 */
export async function replayStep<C>(
  { application }: KeyServices<C>,
  scopes: KeysOfScopes<C>,
  receipt: unknown,
  { acceptUnproven = false }: ReplayTrust = {},
): Promise<ReplayStep> {
  if (!isReceipt(receipt)) throw notAReceipt();
  if (receipt.application !== application) throw receiptOfOther(receipt);
  const scope = { kind: receipt.kind, id: receipt.scope };
  const proven = await isProven(scopes, receipt);
  if ((await scopes.marks.find(scope, 'erasure'))?.state === 'erased') return 'erased';
  if (!proven && !acceptUnproven) return 'unproven';
  return (await scopes.marks.find(scope, 'hold')) === undefined ? 'due' : 'held';
}

/** @returns false if the branch key of a receipt was destroyed, or is newer than the database */
async function isProven<C>(scopes: KeysOfScopes<C>, receipt: ErasureReceipt): Promise<boolean> {
  try {
    await scopes.proveReceipt(receipt);
    return true;
  } catch (error) {
    if (error instanceof KeyNotFoundError || error instanceof KeyStateError) return false;
    throw error;
  }
}

/**
 * Erases scopes again after a restore of the database from an older backup, before the application starts. The
 * waits of their erasures were over when the receipts were written; a legal hold may have come back.
 *
 * @throws what {@link replayStep} throws of any receipt, before anything is erased
 */
export async function replayErasures<C>(
  services: KeyServices<C>,
  scopes: KeysOfScopes<C>,
  receipts: readonly ErasureReceipt[],
  { rows, ...trust }: ReplayTrust & { readonly rows: ScopeRows<C> },
): Promise<ReplayReport> {
  for (const receipt of receipts) await replayStep(services, scopes, receipt, trust);
  const report = {
    erased: [] as ErasureReceipt[],
    stillErased: [] as ErasureReceipt[],
    held: [] as ErasureReceipt[],
    unproven: [] as ErasureReceipt[],
  };
  for (const receipt of receipts) {
    const step = await replayStep(services, scopes, receipt, trust);
    if (step === 'held') report.held.push(receipt);
    else if (step === 'unproven') report.unproven.push(receipt);
    else if (step === 'erased') report.stillErased.push(receipt);
    else report.erased.push(await erasedAgain(services, scopes, receipt, rows));
  }
  return report;
}

async function erasedAgain<C>(
  services: KeyServices<C>,
  scopes: KeysOfScopes<C>,
  receipt: ErasureReceipt,
  rows: ScopeRows<C>,
): Promise<ErasureReceipt> {
  const { kind, scope: id, reason } = receipt;
  const scope = { kind, id };
  const mark =
    (await scopes.marks.find(scope, 'erasure')) ??
    (await scopes.marks.set(scope, 'erasure', { reason }));
  const how = { reason, rows, replays: receiptDigest(receipt) };
  return eraseMarked(services, scopes, mark, how);
}

function notAReceipt(): ConfigurationError {
  return new ConfigurationError(
    'What is to be replayed is not the sealed receipt of an erasure. Nothing was erased. Take the receipt as it was written.',
  );
}
