import { ConfigurationError } from '../../errors';
import type { KeyServices } from '../key-services';
import type { ScopeRotation } from '../lifecycle/maintenance-report';
import { policyOf } from '../policy/key-policy';
import { dueSince } from '../policy/rotation-policy';

import type { KeysOfScopes } from './keys-of-scopes';
import { dueRotation, rotatablePages, ROTATED_PAGE, rotateScopes } from './scope-rotation';

/** Keys of one kind that a call rotates before it leaves the others to the next one. */
const MOST_ROTATED = 4 * ROTATED_PAGE;

/**
 * Rotates the keys of scopes of one kind that are due by its policy, some of them where there are very many.
 *
 * @throws {@link ConfigurationError} for a policy that would never be kept
 * @throws {@link KmsUnavailableError} if the KMS of the common keys refuses
 */
export async function maintainScopes<C>(
  services: KeyServices<C>,
  scopes: KeysOfScopes<C>,
  { kind, dryRun }: { readonly kind: string; readonly dryRun: boolean },
): Promise<ScopeRotation> {
  const { cryptoperiodDays, rotation = { kind: 'manual' } } = policyOf(services.policies, kind);
  if (rotation.kind === 'useCount') throw notCounted(kind);
  const before = dueSince(rotation, cryptoperiodDays, await services.policyTime());
  if (before === null) return { kind, rotated: 0, erased: 0, toBeErased: 0, failures: [] };
  const which = { kind, age: { before, now: await services.store.now() } };
  if (dryRun) return dueRotation(scopes, which);
  const parts = { services, scopes, before };
  return rotateScopes(parts, kind, rotatablePages(scopes, which), MOST_ROTATED);
}

function notCounted(kind: string): ConfigurationError {
  return new ConfigurationError(
    `The policy of "${kind}" rotates by use, and uses of keys of scopes are not counted. Give keyPolicies an entry ` +
      `for "${kind}" with another rotation.`,
  );
}
