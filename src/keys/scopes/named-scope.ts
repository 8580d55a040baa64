import { UnsupportedValueError } from '../../errors';
import { DEFAULT_KIND, scopeId } from '../record/scope';
import type { Scope } from '../record/scope';

import type { ScopeIds } from './scope-context';

/**
 * Returns the scope that a caller names.
 *
 * @throws {@link UnsupportedValueError} for anything but one scope
 */
export function scopeNamed(scope: ScopeIds): Scope {
  const named =
    typeof scope === 'object' ? Object.entries(scope) : [[DEFAULT_KIND, scope] as const];
  const [[kind, value] = ['', ''], ...others] = named;
  const id = scopeId(value);
  if (others.length === 0 && kind !== '' && id !== undefined) return { kind, id };
  throw new UnsupportedValueError(
    'Name one scope: { tenant: 42 }, or its id alone. An id is a text of 1 to 256 bytes, a safe integer or a bigint.',
  );
}
