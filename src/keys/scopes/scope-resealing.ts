import { settleAll } from '../../async/settle-all';
import type { AuditEvent } from '../../audit/audit-entry';
import { FieldEncryptionError } from '../../errors';
import type { FieldEncryptionErrorCode } from '../../errors';
import type { KeyServices } from '../key-services';
import type { DataKey } from '../key-source';
import type { KeyInfo } from '../record/key-info';
import { isBranchName } from '../record/scope';
import type { ScopeKeyRecord } from '../record/scope-key-record';
import { CONCURRENT_UNWRAPS } from '../wrapping/kms-client';

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
  /** Why others are left, such as a KMS of their scope, which refuses, or a row that was edited. */
  readonly failures: readonly ResealFailure[];
}

/** A reason why keys of scopes are left under an earlier branch key. The scopes are not named: they may be persons. */
export interface ResealFailure {
  /** The kind of the scopes, such as `tenant`. */
  readonly kind: string;
  readonly code: FieldEncryptionErrorCode;
  /** That of the first error of this code. */
  readonly message: string;
  /** Keys and marks with an error of this code. */
  readonly keys: number;
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
 * interrupted and run again; the earlier versions can be destroyed afterwards. A key that fails stops no other.
 *
 * @throws {@link KmsUnavailableError} if the KMS of the common keys refuses
 */
export async function resealScopes<C>(
  services: KeyServices<C>,
  scopes: KeysOfScopes<C>,
): Promise<ResealReport> {
  const failures = new Map<string, ResealFailure>();
  let [resealed, conflicts] = [0, 0];
  const earlier = earlierBranches(await services.store.list());
  const nameOf = new Map(earlier.map(({ id, name }) => [id, name]));
  await scopes.branches.prepareCommon();
  let after = '';
  for (;;) {
    const page = await scopes.store.findSealedBy([...nameOf.keys()], { after, limit: PAGE });
    after = page.at(-1)?.id ?? after;
    if (page.length === 0) break;
    const changes = await changesOf(scopes, page, { nameOf, failures });
    const applied = await apply(services, scopes, changes);
    resealed += applied;
    conflicts += changes.length - applied;
  }
  scopes.clear();
  return { resealed, conflicts, failures: [...failures.values()] };
}

/** Seals the keys of a page again, except for those that fail. */
async function changesOf<C>(
  { branches, ring }: KeysOfScopes<C>,
  page: readonly ScopeKeyRecord[],
  {
    nameOf,
    failures,
  }: {
    /** By id of their branch key, the name of that. */
    readonly nameOf: ReadonlyMap<string, string>;
    /** Receives what some keys fail with. */
    readonly failures: Map<string, ResealFailure>;
  },
): Promise<ScopeKeyChange[]> {
  await ring.loadBranches(page);
  const newest = new Map<string, DataKey | FieldEncryptionError>();
  await settleAll([...new Set(page.map(nameOfBranch))], CONCURRENT_UNWRAPS, async (name) => {
    newest.set(name, await orFailure(() => branches.activeOf(name)));
  });
  const changes: ScopeKeyChange[] = [];
  for (const expected of page) {
    const branch = newest.get(nameOfBranch(expected));
    if (branch === undefined) continue;
    const record = isFailure(branch)
      ? branch
      : await orFailure(() => ring.resealed(expected, {}, branch));
    if (isFailure(record)) note(failures, expected, record);
    else changes.push({ expected, record });
  }
  return changes;

  function nameOfBranch({ branchId }: ScopeKeyRecord): string {
    return nameOf.get(branchId) ?? '';
  }
}

async function orFailure<T>(work: () => T | Promise<T>): Promise<T | FieldEncryptionError> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof FieldEncryptionError) return error;
    throw error;
  }
}

function isFailure(outcome: object): outcome is FieldEncryptionError {
  return outcome instanceof FieldEncryptionError;
}

function note(
  failures: Map<string, ResealFailure>,
  { kind }: ScopeKeyRecord,
  { code, message }: FieldEncryptionError,
): void {
  const slot = `${kind} ${code}`;
  const known = failures.get(slot) ?? { kind, code, message, keys: 0 };
  failures.set(slot, { ...known, keys: known.keys + 1 });
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
