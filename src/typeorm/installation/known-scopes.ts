import { UnsupportedValueError } from '../../errors';
import { scopeSlot } from '../../keys/record/scope';
import type { Scope } from '../../keys/record/scope';
import { isMark, scopeOf } from '../../keys/record/scope-key-record';
import { scopesNamed } from '../../keys/scopes/scope-context';
import type { ScopeIds } from '../../keys/scopes/scope-context';
import { unknownScope } from '../../keys/scopes/scope-key-errors';
import { declaredKinds } from '../metadata/encrypted-column';

import type { Installation } from './installation';

/**
 * Returns the scopes that an operator names, each once. A mistyped one would be held, erased or rotated without any
 * effect.
 *
 * @throws {@link UnsupportedValueError} for anything but scopes, {@link ConfigurationError} for a kind that no entity
 * declares, or an id alone where there are several, {@link KeyStateError} for a scope without keys
 */
export async function knownScopes(
  installation: Installation,
  named: readonly ScopeIds[],
): Promise<Scope[]> {
  const list: unknown = named;
  if (!Array.isArray(list)) throw new UnsupportedValueError('Scopes are given as a list of them.');
  const kinds = new Set(declaredKinds(installation.columns));
  const all = named.map((ids) => oneScope(ids, kinds));
  const scopes = [...new Map(all.map((scope) => [scopeSlot(scope), scope])).values()];
  const { store } = installation.keys.scopes;
  const current = (await store.findCurrent(scopes)).filter((record) => !isMark(record));
  const known = new Set(current.map((record) => scopeSlot(scopeOf(record))));
  for (const scope of scopes) {
    // One whose rows were edited may have no current key, and be held none the less.
    if (known.has(scopeSlot(scope)) || !(await store.findAll(scope)).every(isMark)) continue;
    throw unknownScope(scope);
  }
  return scopes;
}

/** {@link knownScopes} of one. */
export async function knownScope(installation: Installation, named: ScopeIds): Promise<Scope> {
  const [scope] = await knownScopes(installation, [named]);
  return scope ?? notOne();
}

function oneScope(ids: ScopeIds, kinds: ReadonlySet<string>): Scope {
  const [scope, ...others] = scopesNamed(ids, kinds);
  return scope !== undefined && others.length === 0 ? scope : notOne();
}

function notOne(): never {
  throw new UnsupportedValueError(
    'Name one scope, { tenant: 42 }, by the kind that an entity declares with @KeyScope.',
  );
}
