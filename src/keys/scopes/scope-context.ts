import { AsyncLocalStorage } from 'node:async_hooks';
import { isGeneratorObject } from 'node:util/types';

import { ConfigurationError, UnsupportedValueError } from '../../errors';

import { scopeId } from '../record/scope';
import type { Scope } from '../record/scope';

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

/** Ids as they were when the context began. */
interface FixedIds {
  /** An id without its kind. */
  readonly alone: string | undefined;
  readonly byKind: ReadonlyMap<string, string>;
}

const contexts = new AsyncLocalStorage<FixedIds | AcrossScopes>();

/**
 * Runs `work`, and all that it awaits, for one scope: values that it writes get the keys of that scope, and
 * rows of others are refused. Within another context, an id replaces that of its kind, and those of other kinds
 * stay. {@link ALL_SCOPES} lifts all that, for work across scopes such as a report; the first
 * row that is read or written is then an entry of the audit log.
 *
 * @param scope - the id, or ids by kind: `{ tenant: 42 }`.
 * @throws {@link UnsupportedValueError} for anything but ids, or a plain object of them
 * @throws {@link ConfigurationError} for work that returns a generator, or a promise of one
 */
export function withKeyScope<T>(scope: ScopeIds | typeof ALL_SCOPES, work: () => T): T {
  const result = contexts.run(contextOf(scope), work);
  return result instanceof Promise ? (result.then(refuseGenerator) as T) : refuseGenerator(result);
}

function contextOf(scope: ScopeIds | typeof ALL_SCOPES): FixedIds | AcrossScopes {
  if (scope === ALL_SCOPES) return new AcrossScopes(new WeakMap());
  const ids = fixedIds(scope);
  const outer = contexts.getStore();
  const isWithin = ids.alone === undefined && outer !== undefined && 'byKind' in outer;
  if (!isWithin) return ids;
  return { ...outer, byKind: new Map([...outer.byKind, ...ids.byKind]) };
}

/** A generator runs where its values are asked for, which would be outside of the context. */
function refuseGenerator<T>(result: T): T {
  if (!isGeneratorObject(result)) return result;
  throw new ConfigurationError(
    'The work in withKeyScope returned a generator, which would run outside of it. Iterate over it within the work.',
  );
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
 * Returns the scope of a kind by {@link withKeyScope}, or by what the application says otherwise.
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
  const context = contexts.getStore();
  if (context instanceof AcrossScopes) return ALL_SCOPES;
  const id = context && idOf(kind, kinds, context);
  if (id !== undefined) return id;
  const scope = otherwise?.();
  return scope === undefined ? undefined : idOf(kind, kinds, fixedIds(scope));
}

/**
 * Returns the scopes that a caller names, one of a kind, with the same errors as in a context.
 *
 * @param kinds - all that there are.
 */
export function scopesNamed(scope: ScopeIds, kinds: ReadonlySet<string>): Scope[] {
  const ids = fixedIds(scope);
  return [...kinds].flatMap((kind) => {
    const id = idOf(kind, kinds, ids);
    return id === undefined ? [] : [{ kind, id }];
  });
}

/** @throws {@link ConfigurationError} */
function idOf(
  kind: string,
  kinds: ReadonlySet<string>,
  { alone, byKind }: FixedIds,
): string | undefined {
  if ([...byKind.keys()].some((each) => !kinds.has(each))) throw unknownKind(kinds);
  const id = byKind.get(kind);
  if (id !== undefined || alone === undefined) return id;
  if (kinds.size === 1) return alone;
  throw new ConfigurationError(
    `A key scope was given as an id alone, and there are several kinds of scopes. Name the kind: { ${kind}: id }.`,
  );
}

/** Does not repeat the name, which may be an id in the wrong place. */
export function unknownKind(kinds: ReadonlySet<string>): ConfigurationError {
  return new ConfigurationError(
    'A key scope names a kind that no encrypted property of the DataSource has. ' +
      `Its kinds are: ${[...kinds].join(', ') || 'none'}. Check the spelling.`,
  );
}

/** @throws {@link UnsupportedValueError} */
function fixedIds(scope: ScopeIds): FixedIds {
  if (typeof scope !== 'object') return { alone: idIn(scope), byKind: new Map() };
  if (!isPlain(scope)) throw noIds('an object of another kind');
  const ids = Object.entries(scope).map(([kind, id]) => [kind, idIn(id)] as const);
  if (ids.length > 0) return { alone: undefined, byKind: new Map(ids) };
  throw new UnsupportedValueError(
    'A key scope was given as an object without a kind. Name it: { tenant: id }.',
  );
}

/** Whether all that an object holds are its own enumerable properties with texts as keys; in any realm. */
function isPlain(scope: object | null): boolean {
  if (scope === null) return false;
  const prototype = Object.getPrototypeOf(scope) as object | null;
  const isBare = prototype === null || Object.getPrototypeOf(prototype) === null;
  return isBare && Reflect.ownKeys(scope).length === Object.keys(scope).length;
}

function idIn(value: unknown): string {
  const id = scopeId(value);
  if (id !== undefined) return id;
  throw noIds(
    typeof value === 'string'
      ? `a text of ${String(Buffer.byteLength(value))} bytes`
      : typeof value,
  );
}

function noIds(got: string): UnsupportedValueError {
  return new UnsupportedValueError(
    `A key scope is a text of 1 to 256 bytes, a safe integer or a bigint, or a plain object of these by kind; got ${got}.`,
  );
}
