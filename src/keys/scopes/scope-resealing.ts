import type { KeyServices } from '../key-services';
import { isBranchName } from '../record/scope';
import type { ScopeKeyRecord } from '../record/scope-key-record';

import type { KeysOfScopes } from './keys-of-scopes';
import type { ScopeKeyChange } from './scope-key-store';

/** Rows in one transaction. */
const PAGE = 500;

/** The result of sealing the keys of scopes again. */
export interface ResealReport {
  /** Keys and marks that are under the newest branch key now. */
  readonly resealed: number;
  /** Those that another process changed meanwhile; run again. */
  readonly conflicts: number;
}

/**
 * Seals the keys of scopes again that are under earlier versions of their branch key, page by page. It can be
 * interrupted and run again; the earlier versions can be destroyed afterwards.
 *
 * @throws {@link KeyUnwrapError} for a row that was edited; {@link KmsUnavailableError}
 */
export async function resealScopes<C>(
  services: KeyServices<C>,
  scopes: KeysOfScopes<C>,
): Promise<ResealReport> {
  const report = { resealed: 0, conflicts: 0 };
  const branches = (await services.store.list()).filter(({ name }) => isBranchName(name));
  const earlier = branches.filter(({ state }) => state !== 'active' && state !== 'destroyed');
  const nameOf = new Map(earlier.map(({ id, name }) => [id, name]));
  let after = '';
  for (;;) {
    const page = await scopes.store.findSealedBy([...nameOf.keys()], { after, limit: PAGE });
    after = page.at(-1)?.id ?? after;
    if (page.length === 0) break;
    const resealed = await resealPage(services, scopes, page, nameOf);
    report.resealed += resealed;
    report.conflicts += page.length - resealed;
  }
  scopes.clear();
  return report;
}

async function resealPage<C>(
  { audit }: KeyServices<C>,
  { branches, ring, store }: KeysOfScopes<C>,
  page: readonly ScopeKeyRecord[],
  nameOf: ReadonlyMap<string, string>,
): Promise<number> {
  await ring.loadBranches(page);
  const changes: ScopeKeyChange[] = [];
  for (const expected of page) {
    const branch = await branches.activeOf(nameOf.get(expected.branchId) ?? '');
    changes.push({ expected, record: ring.resealed(expected, {}, branch) });
  }
  const record = await audit?.readyToRecord();
  const apply = (some: readonly ScopeKeyChange[]): Promise<boolean> =>
    store.apply(some, [], async (transaction) => {
      const counts = { scopeKeys: some.length };
      await record?.([{ operation: 'rewrap', outcome: 'done', counts }], transaction);
      return true;
    });
  if (await apply(changes)) return changes.length;
  // One of them was changed meanwhile.
  let resealed = 0;
  for (const change of changes) if (await apply([change])) resealed += 1;
  return resealed;
}
