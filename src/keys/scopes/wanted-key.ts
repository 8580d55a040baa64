import { scopeSlot } from '../record/scope';
import type { Scope } from '../record/scope';
import { scopeOf } from '../record/scope-key-record';
import type { ScopeKeyRecord } from '../record/scope-key-record';

/** One key of a scope that is wanted. */
export interface WantedKey {
  readonly scope: Scope;
  readonly purpose: 'data' | 'index';
}

/** Which keys of scopes are to be made usable. */
export interface KeysToPrepare {
  /** Whether those of their tokens, too. */
  readonly index: boolean;
  /** Whether those that are missing are created. Defaults to `true`. */
  readonly creates?: boolean;
}

/** Returns the keys that scopes need, each once: with `index`, those of their tokens, too. */
export function wantedKeys(scopes: readonly Scope[], index: boolean): WantedKey[] {
  const unique = new Map(scopes.map((scope) => [scopeSlot(scope), scope]));
  const purposes: readonly WantedKey['purpose'][] = index ? ['data', 'index'] : ['data'];
  return [...unique.values()].flatMap((scope) => purposes.map((purpose) => ({ scope, purpose })));
}

/** Returns the scopes of keys, each once. */
export function scopesOf(wanted: readonly WantedKey[]): Scope[] {
  return [...new Map(wanted.map(({ scope }) => [scopeSlot(scope), scope])).values()];
}

/** {@link slotOfKey} of a record. */
export function slotOf(record: ScopeKeyRecord): string {
  return `${record.purpose}\0${scopeSlot(scopeOf(record))}`;
}

/** Returns a text that is unique to a key that is wanted. */
export function slotOfKey({ purpose, scope }: WantedKey): string {
  return `${purpose}\0${scopeSlot(scope)}`;
}
