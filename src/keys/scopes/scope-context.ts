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

/** Work across scopes, and who has recorded it in an audit log. */
class AcrossScopes {
  readonly #records: WeakMap<object, Promise<void>> | undefined;

  /** @param records - undefined for work that is recorded by its own name. */
  constructor(records?: WeakMap<object, Promise<void>>) {
    this.#records = records;
  }

  /** Records the work at its first use by each recorder. */
  recorded(recorder: object, record: () => Promise<void>): Promise<void> | undefined {
    if (this.#records === undefined) return undefined;
    const records = this.#records;
    const known = records.get(recorder);
    if (known !== undefined) return known;
    const recording = record();
    records.set(recorder, recording);
    recording.catch(() => records.delete(recorder));
    return recording;
  }
}

const contexts = new AsyncLocalStorage<ScopeIds | AcrossScopes>();

/**
 * Runs `work`, and all that it awaits, for one scope: values that it writes get the keys of that scope, and
 * rows of others are refused. {@link ALL_SCOPES} lifts that, for work across scopes such as a report; the first
 * row that is read or written is then an entry of the audit log.
 *
 * @param scope - the id, or ids by kind: `{ tenant: 42 }`.
 * @throws {@link UnsupportedValueError} for anything that is no id
 */
export function withKeyScope<T>(scope: ScopeIds | typeof ALL_SCOPES, work: () => T): T {
  if (scope === ALL_SCOPES) return contexts.run(new AcrossScopes(new WeakMap()), work);
  requireIds(scope);
  return contexts.run(scope, work);
}

/** Runs work of an operator for all scopes, which has entries of its own in the audit log. */
export function acrossScopes<T>(work: () => T): T {
  return contexts.run(new AcrossScopes(), work);
}

/** Records, once, that the work at hand goes across scopes; undefined if it does not, or needs no entry. */
export function recordedAcrossScopes(
  recorder: object,
  record: () => Promise<void>,
): Promise<void> | undefined {
  const context = contexts.getStore();
  return context instanceof AcrossScopes ? context.recorded(recorder, record) : undefined;
}

/**
 * Returns the scope of a kind by the innermost {@link withKeyScope}, or by what the application says otherwise.
 *
 * @param kinds - all that there are.
 * @throws {@link ConfigurationError} for an id without its kind where there are several, and for another kind
 * @throws {@link UnsupportedValueError} for anything that is no id
 */
export function contextScope(
  kind: string,
  kinds: ReadonlySet<string>,
  otherwise: (() => ScopeIds | undefined) | undefined,
): ContextScope {
  const scope = contexts.getStore() ?? otherwise?.();
  if (scope instanceof AcrossScopes) return ALL_SCOPES;
  if (scope === undefined) return undefined;
  requireIds(scope);
  if (typeof scope === 'object') {
    const unknown = Object.keys(scope).find((each) => !kinds.has(each));
    if (unknown !== undefined) throw unknownKind(kinds);
    return Object.hasOwn(scope, kind) ? idIn(scope[kind]) : undefined;
  }
  if (kinds.size === 1) return idIn(scope);
  throw new ConfigurationError(
    `A key scope was given as an id alone, and there are several kinds of scopes. Name the kind: { ${kind}: id }.`,
  );
}

function requireIds(scope: ScopeIds): void {
  const ids: readonly unknown[] = typeof scope === 'object' ? Object.values(scope) : [scope];
  for (const id of ids) idIn(id);
  if (ids.length > 0) return;
  throw new UnsupportedValueError(
    'A key scope was given as an object without a kind. Name it: { tenant: id }.',
  );
}

/** Does not repeat the name, which may be an id in the wrong place. */
function unknownKind(kinds: ReadonlySet<string>): ConfigurationError {
  return new ConfigurationError(
    'A key scope names a kind that no encrypted property of the DataSource has. ' +
      `There is: ${[...kinds].join(', ')}. Look whether the name is right.`,
  );
}

function idIn(value: unknown): string {
  const id = scopeId(value);
  if (id !== undefined) return id;
  throw new UnsupportedValueError(
    `A key scope is a text of 1 to 256 bytes, a safe integer or a bigint, or an object of these by kind; got ${typeof value}.`,
  );
}
