import { AsyncLocalStorage } from 'node:async_hooks';

import { ConfigurationError, UnsupportedValueError } from '../../errors';

import { scopeId } from '../record/scope';

/** The scopes of a context: an id, where there is one kind of scopes only, or ids by kind. */
export type ScopeIds = ScopeIdValue | Readonly<Record<string, ScopeIdValue>>;
/** The id of a scope as applications have it. Numbers are safe integers, texts at most 256 bytes long. */
export type ScopeIdValue = string | number | bigint;

/** Lets the work in {@link withKeyScope} read and write the rows of every scope. */
export const ALL_SCOPES: unique symbol = Symbol('every scope');

/** The scope of a kind by the context: its id, every scope, or undefined if the context does not say. */
export type ContextScope = string | typeof ALL_SCOPES | undefined;

const contexts = new AsyncLocalStorage<ScopeIds | typeof ALL_SCOPES>();

/**
 * Runs `work`, and all that it awaits, for one scope: values that it writes get the keys of that scope, and
 * rows of others are refused. {@link ALL_SCOPES} lifts that, for work across scopes such as a report.
 *
 * @param scope - the id, or ids by kind: `{ tenant: 42 }`.
 * @throws {@link UnsupportedValueError} for anything that is no id
 */
export function withKeyScope<T>(scope: ScopeIds | typeof ALL_SCOPES, work: () => T): T {
  if (scope !== ALL_SCOPES) requireIds(scope);
  return contexts.run(scope, work);
}

/**
 * Returns the scope of a kind by the innermost {@link withKeyScope}, or by what the application says otherwise.
 *
 * @param isOnlyKind - whether an id without its kind can be meant for this one.
 * @throws {@link ConfigurationError} for an id without its kind where there are several
 * @throws {@link UnsupportedValueError} for anything that is no id
 */
export function contextScope(
  kind: string,
  isOnlyKind: boolean,
  otherwise: (() => ScopeIds | undefined) | undefined,
): ContextScope {
  const scope = contexts.getStore() ?? otherwise?.();
  if (scope === undefined || scope === ALL_SCOPES) return scope;
  requireIds(scope);
  if (typeof scope === 'object') return Object.hasOwn(scope, kind) ? idIn(scope[kind]) : undefined;
  if (isOnlyKind) return idIn(scope);
  throw new ConfigurationError(
    `A key scope was given as an id alone, and there are several kinds of scopes. Name the kind: { ${kind}: id }.`,
  );
}

function requireIds(scope: ScopeIds): void {
  const ids: readonly unknown[] = typeof scope === 'object' ? Object.values(scope) : [scope];
  for (const id of ids) idIn(id);
}

function idIn(value: unknown): string {
  const id = scopeId(value);
  if (id !== undefined) return id;
  throw new UnsupportedValueError(
    `A key scope is a text of 1 to 256 bytes, a safe integer or a bigint, or an object of these by kind; got ${typeof value}.`,
  );
}
