import { ConfigurationError } from '../../errors';

import type { KeyPolicy } from './key-policy';

/** How much harm a disclosure would do, by FIPS 199. */
export type SecurityLevel = 'high' | 'moderate' | 'low';

/** Days for which a version protects new data. */
const PERIODS: Readonly<Record<SecurityLevel, number>> = { high: 30, moderate: 90, low: 180 };

/**
 * Returns a policy for `keyPolicies`: the key is rotated every 30 days (`high`), 90 (`moderate`) or 180 (`low`),
 * and a version that was not counts as expired a week later. Versions are kept. Spread it to change a part.
 *
 * @throws {@link ConfigurationError} for another level
 */
export function policyFor(level: SecurityLevel): KeyPolicy {
  if (!Object.hasOwn(PERIODS, level)) {
    throw new ConfigurationError("policyFor: the level is 'high', 'moderate' or 'low'.");
  }
  const everyDays = PERIODS[level];
  return {
    securityLevel: level,
    cryptoperiodDays: everyDays + GRACE_DAYS,
    rotation: { kind: 'periodic', everyDays },
  };
}

const GRACE_DAYS = 7;
