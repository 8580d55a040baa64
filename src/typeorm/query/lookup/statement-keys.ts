import type { UsedKeys } from '../../../keys/cache/used-keys';
import { fenced, rememberKeys } from '../../connection/key-fence';
import { installationOf } from '../../installation/installations';
import type { AnyQueryBuilder } from '../any-query-builder';

/** The keys of the tokens in the criteria of a builder, which may be built long before its statement. */
const criteriaKeys = new WeakMap<AnyQueryBuilder, UsedKeys>();

type NestedBuilder = AnyQueryBuilder & { readonly parentQueryBuilder?: NestedBuilder };

/** Builds a part of the criteria of a builder, and notes the keys that it uses. */
export function notingCriteria<T>(builder: AnyQueryBuilder, make: () => T): T {
  const [made, used] = installationOf(builder.connection).keys.noting(make);
  if (used.isEmpty) return made;
  for (const holder of withParents(builder)) addTo(holder, used);
  return made;
}

/** Yields a builder and those around it: one of Brackets or of a subquery hands its parameters over to its parent. */
export function* withParents(builder: AnyQueryBuilder): Generator<AnyQueryBuilder> {
  let holder: NestedBuilder | undefined = builder;
  for (; holder !== undefined; holder = holder.parentQueryBuilder) yield holder;
}

/** Copies the keys of a builder's criteria to its copy. */
export function copyCriteriaKeys(from: AnyQueryBuilder, to: AnyQueryBuilder): void {
  const used = criteriaKeys.get(from);
  if (used !== undefined) addTo(to, used);
}

/** Builds the statement of a builder, which is held back if its keys are too old when it is sent. */
export function withStatementKeys(
  builder: AnyQueryBuilder,
  build: () => [string, unknown[]],
): [string, unknown[]] {
  const [statement, used] = installationOf(builder.connection).keys.noting(build);
  const criteria = criteriaKeys.get(builder);
  if (criteria !== undefined) used.addAll(criteria);
  rememberKeys(statement[1], used);
  return fenced(builder.connection, statement, used);
}

function addTo(builder: AnyQueryBuilder, used: UsedKeys): void {
  const known = criteriaKeys.get(builder);
  if (known === undefined) criteriaKeys.set(builder, used.copy());
  else known.addAll(used);
}
