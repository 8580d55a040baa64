import type { AuditEvent } from '../../audit/audit-entry';
import { KmsUnavailableError } from '../../errors';
import type { KeyServices } from '../key-services';
import type { DataKey } from '../key-source';
import type { KeyInfo } from '../record/key-info';
import { isBranchName } from '../record/scope';
import type { ScopeKeyRecord } from '../record/scope-key-record';

import type { KeysOfScopes } from './keys-of-scopes';
import { applyRecorded } from './recorded-change';
import type { ScopeKeyChange } from './scope-key-store';

/** Rows in one transaction. */
const PAGE = 500;

/** The result of sealing the keys of scopes again. */
export interface ResealReport {
  /** Keys and marks that are under the newest branch key now. */
  readonly resealed: number;
  /** Those that another process changed meanwhile; run again. */
  readonly conflicts: number;
  /** Those of scopes whose own KMS refuses. */
  readonly unavailable: number;
}

/** Returns the branch keys that are not active, under which keys of scopes are to be no more. */
export function earlierBranches<K extends Pick<KeyInfo, 'name' | 'state'>>(
  keys: readonly K[],
): K[] {
  return keys.filter(
    ({ name, state }) => isBranchName(name) && state !== 'active' && state !== 'destroyed',
  );
}

/**
 * Seals the keys of scopes again that are under earlier versions of their branch key, page by page. It can be
 * interrupted and run again; the earlier versions can be destroyed afterwards.
 *
 * @throws {@link KeyUnwrapError} for a row that was edited
 * @throws {@link KmsUnavailableError} if the KMS of the common keys refuses
 */
export async function resealScopes<C>(
  services: KeyServices<C>,
  scopes: KeysOfScopes<C>,
): Promise<ResealReport> {
  const report = { resealed: 0, conflicts: 0, unavailable: 0 };
  const earlier = earlierBranches(await services.store.list());
  const nameOf = new Map(earlier.map(({ id, name }) => [id, name]));
  await scopes.branches.prepareCommon();
  let after = '';
  for (;;) {
    const page = await scopes.store.findSealedBy([...nameOf.keys()], { after, limit: PAGE });
    after = page.at(-1)?.id ?? after;
    if (page.length === 0) break;
    const changes = await changesOf(scopes, page, nameOf);
    const resealed = await apply(services, scopes, changes);
    report.resealed += resealed;
    report.conflicts += changes.length - resealed;
    report.unavailable += page.length - changes.length;
  }
  scopes.clear();
  return report;
}

/** Seals the keys of a page again, except for those whose own KMS refuses. */
async function changesOf<C>(
  { branches, ring }: KeysOfScopes<C>,
  page: readonly ScopeKeyRecord[],
  nameOf: ReadonlyMap<string, string>,
): Promise<ScopeKeyChange[]> {
  await ring.loadBranches(page);
  const newest = new Map<string, DataKey | undefined>();
  for (const name of new Set(page.map(({ branchId }) => nameOf.get(branchId) ?? ''))) {
    newest.set(name, await unlessUnavailable(() => branches.activeOf(name)));
  }
  const changes: ScopeKeyChange[] = [];
  for (const expected of page) {
    const branch = newest.get(nameOf.get(expected.branchId) ?? '');
    const record = branch && (await unlessUnavailable(() => ring.resealed(expected, {}, branch)));
    if (record !== undefined) changes.push({ expected, record });
  }
  return changes;
}

async function unlessUnavailable<T>(work: () => T | Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof KmsUnavailableError) return undefined;
    throw error;
  }
}

/** Makes changes, and returns how many: all of them, or one by one those that nobody else was faster with. */
async function apply<C>(
  services: KeyServices<C>,
  { store }: KeysOfScopes<C>,
  changes: readonly ScopeKeyChange[],
): Promise<number> {
  if (changes.length === 0) return 0;
  const applied = (some: readonly ScopeKeyChange[]): Promise<boolean> => {
    const counts = { scopeKeys: some.length };
    const event = (): AuditEvent => ({ operation: 'rewrap', outcome: 'done', counts });
    return applyRecorded(services, store, { changes: some, event });
  };
  if (await applied(changes)) return changes.length;
  let resealed = 0;
  for (const change of changes) if (await applied([change])) resealed += 1;
  return resealed;
}
