import { randomFillSync } from 'node:crypto';

import { AEAD_KEY_BYTES } from '../../crypto/aead';
import { wipe } from '../../crypto/secret-bytes';
import { ErasedError, FieldEncryptionError } from '../../errors';
import { newDataKeyId } from '../../format/data-key-id';
import { typedFailure } from '../cache/failed-keys';
import type { KeyServices } from '../key-services';
import type { DataKey } from '../key-source';
import type { ScopeRotation, ScopeRotationFailure } from '../lifecycle/maintenance-report';
import { wholeSecond } from '../record/key-record';
import { scopeSlot } from '../record/scope';
import type { Scope } from '../record/scope';
import { scopeOf } from '../record/scope-key-record';
import type { ScopeKeyRecord } from '../record/scope-key-record';
import { pagesOf } from '../store/pages-of';

import { erasedError, marksByScope, ToBeErasedError } from './erasure/marks-of-scopes';
import { changedMeanwhile } from './erasure/scope-marks';
import type { KeysOfScopes } from './keys-of-scopes';
import { applyRecorded, batchOf } from './recorded-change';
import { unknownScope } from './scope-key-errors';
import type { RotatableScopes, ScopeKeyChange } from './scope-key-store';
import { sealScopeKey } from './sealed-scope-key';

/** Scopes in one transaction. */
export const ROTATED_PAGE = 500;

/** By scope, the id of its new key, or why it has none; nothing for a key that is not due. */
type Outcomes = Map<string, string | FieldEncryptionError>;

/** Where and how keys are rotated. */
export interface RotationParts<C> {
  readonly services: KeyServices<C>;
  readonly scopes: KeysOfScopes<C>;
  /** Leaves alone keys that are younger. Defaults to none. */
  readonly before?: Date | undefined;
}

/** The former key of a scope and the new one. */
interface Succession extends ScopeKeyChange {
  readonly next: ScopeKeyRecord;
}

/**
 * Gives a scope a new data key, under the branch key of its present KMS. The former one decrypts only, until
 * its rows are re-encrypted.
 *
 * @returns its id.
 * @throws {@link ErasedError}, {@link KeyStateError}, {@link KeyUnwrapError}, {@link KmsUnavailableError}
 */
export async function rotateScope<C>(parts: RotationParts<C>, scope: Scope): Promise<string> {
  const outcome = (await rotatedPage(parts, [scope])).get(scopeSlot(scope));
  if (typeof outcome === 'string') return outcome;
  throw outcome ?? changedMeanwhile(scope);
}

/** Returns the scopes of a kind that are to be rotated, page by page. */
export async function* rotatablePages<C>(
  { store }: KeysOfScopes<C>,
  which: RotatableScopes,
): AsyncGenerator<readonly Scope[]> {
  for (let after = ''; ;) {
    const page = await store.findRotatable(which, { after, limit: ROTATED_PAGE });
    if (page.length > 0) yield page;
    if (page.length < ROTATED_PAGE) return;
    after = page.at(-1)?.id ?? after;
  }
}

/** Returns the rotation that a dry run reports: how many scopes, all of them or some, have a key that is due. */
export async function dueRotation<C>(
  { marks, store }: KeysOfScopes<C>,
  which: RotatableScopes,
  scopes: readonly Scope[] | 'all' = 'all',
): Promise<ScopeRotation> {
  const parts = scopes === 'all' ? [undefined] : pagesOf(scopes, ROTATED_PAGE);
  let [rotated, toBeErased, erased] = [0, 0, 0];
  for (const part of parts) {
    const ids = part?.map(({ id }) => id);
    const count = await store.countRotatable({ ...which, ids });
    rotated += count.rotatable;
    toBeErased += count.toBeErased;
    for (const scope of part ?? []) {
      if ((await marks.find(scope, 'erasure'))?.state === 'erased') erased += 1;
    }
  }
  return { kind: which.kind, rotated, erased, toBeErased, failures: [] };
}

/**
 * Gives scopes of one kind new data keys, page by page. One that fails stops no other.
 *
 * @param most - ends once so many are rotated, after the page under way.
 * @throws {@link KmsUnavailableError} if the KMS of the common keys refuses
 */
export async function rotateScopes<C>(
  parts: RotationParts<C>,
  kind: string,
  pages: AsyncIterable<readonly Scope[]> | Iterable<readonly Scope[]>,
  most = Infinity,
): Promise<ScopeRotation> {
  const failures = new Map<string, ScopeRotationFailure>();
  let [rotated, erased, toBeErased] = [0, 0, 0];
  for await (const page of pages) {
    for (const outcome of (await rotatedPage(parts, page)).values()) {
      if (typeof outcome === 'string') rotated += 1;
      else if (outcome instanceof ToBeErasedError) toBeErased += 1;
      else if (outcome instanceof ErasedError) erased += 1;
      else {
        const { code, message } = outcome;
        const known = failures.get(code) ?? { code, message, scopes: 0 };
        failures.set(code, { ...known, scopes: known.scopes + 1 });
      }
    }
    if (rotated >= most) break;
  }
  return { kind, rotated, erased, toBeErased, failures: [...failures.values()] };
}

/** Rotates a page in one transaction and, where another process was faster with some of it, in halves. */
async function rotatedPage<C>(
  parts: RotationParts<C>,
  page: readonly Scope[],
  expectedIds?: ReadonlySet<string>,
): Promise<Outcomes> {
  const { scopes, services } = parts;
  await scopes.branches.prepareCommon();
  const { found, outcomes } = await successions(parts, page, expectedIds);
  if (found.length === 0) return outcomes;
  const inserted = found.map(({ next }) => next);
  const done = await applyRecorded(services, scopes.store, {
    ...{ changes: found, inserted },
    event: () => ({ operation: 'rotate', outcome: 'done', ...batchOf(inserted) }),
  });
  scopes.active.clear();
  if (done || found.length === 1) {
    for (const { next } of found) {
      outcomes.set(scopeSlot(scopeOf(next)), done ? next.id : changedMeanwhile(next));
    }
    return outcomes;
  }
  const ids = new Set(found.map(({ expected }) => expected.id));
  const left = inserted.map(scopeOf);
  const half = Math.ceil(left.length / 2);
  for (const part of [left.slice(0, half), left.slice(half)]) {
    for (const [slot, outcome] of await rotatedPage(parts, part, ids)) outcomes.set(slot, outcome);
  }
  return outcomes;
}

/**
 * Returns the present and the next keys of scopes, and the outcomes of those that get none.
 *
 * @param expectedIds - others are of another rotation, which was faster.
 */
async function successions<C>(
  { scopes: { branches, ring, store }, services, before }: RotationParts<C>,
  page: readonly Scope[],
  expectedIds: ReadonlySet<string> | undefined,
): Promise<{ readonly found: Succession[]; readonly outcomes: Outcomes }> {
  const records = await store.findCurrent(page);
  const refused = await branches.prepare(page);
  await ring.loadBranches(records);
  const since = wholeSecond(await services.store.now());
  const marks = marksByScope(records);
  const keys = new Map(records.filter(isCurrent).map((key) => [scopeSlot(scopeOf(key)), key]));
  const found: Succession[] = [];
  const outcomes: Outcomes = new Map();
  for (const scope of page) {
    const slot = scopeSlot(scope);
    try {
      const mark = ring.markAmong(marks.get(slot) ?? [], 'erasure');
      if (mark !== undefined) throw erasedError(mark);
      const refusal = refused.get(slot);
      if (refusal !== undefined) throw typedFailure(`the branch key of a ${scope.kind}`, refusal);
      const expected = keys.get(slot);
      if (expected === undefined) throw unknownScope(scope);
      if (expectedIds?.has(expected.id) === false) throw changedMeanwhile(scope);
      // Proves the row, its date included.
      const record = ring.resealed(expected, { state: 'deactivated', since });
      if (before !== undefined && expected.since > before) continue;
      const next = newVersion(services, branches.activeFor(scope), { ...expected, since });
      found.push({ expected, record, next });
    } catch (failure) {
      if (!(failure instanceof FieldEncryptionError)) throw failure;
      outcomes.set(slot, failure);
    }
  }
  return { found, outcomes };
}

function isCurrent({ purpose, state }: ScopeKeyRecord): boolean {
  return purpose === 'data' && state !== 'deactivated';
}

function newVersion<C>(
  { application, suite }: KeyServices<C>,
  branch: DataKey,
  { kind, scope, purpose, version, since }: ScopeKeyRecord,
): ScopeKeyRecord {
  const bytes = randomFillSync(Buffer.allocUnsafeSlow(AEAD_KEY_BYTES));
  try {
    const fields = { kind, scope, purpose, version: version + 1, suite, since };
    const id = newDataKeyId();
    return sealScopeKey(branch, { ...fields, id, state: 'active' }, application, bytes);
  } finally {
    wipe(bytes);
  }
}
