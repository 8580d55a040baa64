import { KeyStateError, UnsupportedValueError } from '../../../errors';
import type { Scope } from '../../../keys/record/scope';
import type { ScopeIds } from '../../../keys/scopes/scope-context';
import { knownScope } from '../../../typeorm/installation/known-scopes';
import { declaredKinds } from '../../../typeorm/metadata/encrypted-column';
import type { Session } from '../../load/session';
import { CommandError } from '../../terminal/command-error';

/** The scope that a command line names. */
export interface NamedScope extends Scope {
  /** Its name in messages: `tenant "42"`. */
  readonly title: string;
}

/**
 * Returns the scope that a command line names, by {@link knownScope}.
 *
 * @param kind - may be left out where the entities declare one kind only.
 * @throws {@link CommandError} for a kind that no entity declares, or a scope that never had a key
 */
export async function namedScope(
  session: Session,
  id: string,
  kind: string | undefined,
): Promise<NamedScope> {
  const named = declaredKind(session, kind);
  const title = `${named} "${id}"`;
  try {
    return { ...(await knownScope(session.installation, { [named]: id })), title };
  } catch (cause) {
    if (cause instanceof UnsupportedValueError) throw noSuchId(title, cause);
    if (cause instanceof KeyStateError) throw withoutKeys(session, title, cause);
    throw cause;
  }
}

function noSuchId(title: string, cause: Error): CommandError {
  const hint = 'An id has 1 to 256 bytes.';
  return new CommandError('ERR_USAGE', `There can be no ${title}.`, hint, { cause });
}

function withoutKeys(session: Session, title: string, cause: Error): CommandError {
  return new CommandError(
    'ERR_USAGE',
    `There is no key of ${title}: nothing was ever encrypted for it.`,
    `Check the spelling of the id and its kind. The kinds are: ${declaredKinds(session.installation.columns).join(', ')}.`,
    { cause },
  );
}

/** {@link namedScope} of each of some ids. */
export async function namedScopes(
  session: Session,
  ids: readonly string[],
  kind: string | undefined,
): Promise<NamedScope[]> {
  const scopes: NamedScope[] = [];
  for (const id of new Set(ids)) scopes.push(await namedScope(session, id, kind));
  return scopes;
}

/** Returns scopes as the library takes them. */
export function scopeIdsOf(scopes: readonly Scope[]): ScopeIds[] {
  return scopes.map(({ kind, id }) => ({ [kind]: id }));
}

/**
 * Returns the kind that a command line names, or the only one.
 *
 * @throws {@link CommandError} for one that no entity declares
 */
export function declaredKind({ installation }: Session, kind: string | undefined): string {
  const kinds = declaredKinds(installation.columns);
  const [only] = kinds;
  if (kind !== undefined && kinds.includes(kind)) return kind;
  if (kind === undefined && only !== undefined && kinds.length === 1) return only;
  throw new CommandError(
    'ERR_USAGE',
    kind === undefined ? 'The kind of the scope is missing.' : `No scope is of kind "${kind}".`,
    kinds.length === 0
      ? 'No entity of this DataSource has @KeyScope.'
      : `Give --kind; the entities of this DataSource have: ${kinds.join(', ')}.`,
  );
}
