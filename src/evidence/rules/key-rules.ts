import { policyFor } from '../../keys/policy/policy-presets';
import type { SecurityLevel } from '../../keys/policy/policy-presets';
import type { EvidenceReport, KeyEvidence, PolicyEvidence } from '../report';

import { findingIf } from './rule';
import type { Rule, RuleFinding } from './rule';

/** NIST SP 800-57 part 1, section 5.3.6: a key-wrapping key is used for at most two years. */
const KEK_MAX_DAYS = 730;
const LEVELS: readonly SecurityLevel[] = ['low', 'moderate', 'high'];

const PERIODS = ['PCI DSS 4.0.1 3.7.4', 'NIST SP 800-57 part 1, 5.3', 'ISO 27001:2022 A.8.24'];

const titled = ({ name, version }: KeyEvidence): string =>
  `key "${name}" version ${String(version)}`;

function active({ keys }: EvidenceReport): KeyEvidence[] {
  return keys.filter(({ purpose, state }) => purpose === 'data' && state === 'active');
}

function levelOf(text: string | null): number {
  return LEVELS.indexOf(text as SecurityLevel);
}

/** Rules on keys, what wraps them, and their policies. */
export const KEY_RULES: readonly Rule[] = [
  {
    id: 'key-overdue',
    title: 'No active key is past its cryptoperiod or its rotation',
    severity: 'high',
    controls: PERIODS,
    shows: 'Each active data key is younger than its policy allows.',
    doesNotShow: 'That the policy is right, or that the rows of earlier keys were moved.',
    check: (report) =>
      active(report).flatMap((key) => {
        const dates = [key.expiresAt, key.nextRotationAt].filter((date) => date !== null);
        const since = dates.sort()[0] ?? report.time;
        const remedy = 'Run `field-encryption keys maintain` every night, or `keys rotate` now.';
        return findingIf(since < report.time, titled(key), `It is overdue since ${since}.`, remedy);
      }),
  },
  {
    id: 'cryptoperiod-missing',
    title: 'Every data key has a cryptoperiod and an owner',
    severity: 'low',
    controls: [...PERIODS, 'PCI DSS 4.0.1 3.6.1.1'],
    shows: 'The configuration names a cryptoperiod and an owner for each data key.',
    doesNotShow: 'That the owner knows, or that other documents say the same.',
    check: ({ policies }) =>
      policies.flatMap(({ keyName, cryptoperiodDays, owner }) => {
        const lacks = [
          ...(cryptoperiodDays === null ? ['cryptoperiod'] : []),
          ...(owner === null ? ['owner'] : []),
        ];
        const message = `Its policy names no ${lacks.join(' and no ')}.`;
        const remedy = 'Set them in `keyPolicies`.';
        return findingIf(lacks.length > 0, `key "${keyName}"`, message, remedy);
      }),
  },
  {
    id: 'level-unmet',
    title: 'Policies are as strict as the levels of keys ask for',
    severity: 'medium',
    controls: ['NIST SP 800-57 part 1, 5.3', 'FIPS 199', 'ISO 27001:2022 A.8.24'],
    shows:
      'No key of a level has a policy of a lower one, or a longer cryptoperiod than `policyFor` gives it.',
    doesNotShow:
      'That the levels were chosen rightly, or that nobody who writes to the key table took them out: no MAC covers them.',
    check: (report) => {
      const policies = new Map(report.policies.map((policy) => [policy.keyName, policy]));
      return active(report).flatMap((key) => {
        const policy = policies.get(key.name);
        return policy === undefined ? [] : levelUnmet(key, policy);
      });
    },
  },
  {
    id: 'kek-too-old',
    title: 'No key-encryption key is older than two years',
    severity: 'medium',
    controls: ['PCI DSS 4.0.1 3.7.4', 'PCI DSS 4.0.1 3.6.1', 'NIST SP 800-57 part 1, 5.3.6'],
    shows: 'The version that wraps keys now was made less than 730 days ago, as its provider says.',
    doesNotShow: 'The age where a provider does not tell it, or that of earlier versions.',
    check: ({ providers }) =>
      providers.flatMap(({ kms, kekAgeDays }) =>
        findingIf(
          (kekAgeDays ?? 0) > KEK_MAX_DAYS,
          `kms "${kms}"`,
          `Its key-encryption key was made ${String(kekAgeDays)} days ago.`,
          'Rotate it in the KMS, and run `field-encryption keys rewrap`.',
        ),
      ),
  },
  {
    id: 'suite-unknown',
    title: 'The cryptographic inventory is complete',
    severity: 'medium',
    controls: ['PCI DSS 4.0.1 12.3.3', 'PCI DSS 4.0.1 3.6.1.1'],
    shows: 'Algorithm and parameters of every key are known and listed.',
    doesNotShow: 'That somebody has reviewed the list within the last twelve months.',
    check: ({ suites }) =>
      suites.flatMap(({ keyBits, suite }) =>
        findingIf(
          keyBits === 0,
          `suite "${suite}"`,
          'This version does not know it.',
          'Use the version of typeorm-field-encryption that made its keys, or a later one.',
        ),
      ),
  },
  {
    id: 'index-keyed',
    title: 'Tokens of blind indexes are keyed',
    severity: 'high',
    controls: ['PCI DSS 4.0.1 3.5.1.1', 'SOC 2 CC6.1'],
    shows:
      'There is an index root in use, from which an HMAC-SHA-256 key of each index is derived.',
    doesNotShow: 'That equal values are not seen to be equal: that is what an index is for.',
    check: ({ columns, keys }) => {
      const hasRoot = keys.some(({ purpose, state }) => purpose === 'index' && state === 'active');
      return columns.flatMap(({ entity, indexes, property, scopes }) =>
        findingIf(
          !hasRoot && indexes.length > 0 && scopes === null,
          `${entity}.${property}`,
          'It has a blind index, and there is no active index root.',
          'Restore the keys from a backup, or run `field-encryption init` for the first ones.',
        ),
      );
    },
  },
];

function levelUnmet(key: KeyEvidence, policy: PolicyEvidence): RuleFinding[] {
  const wanted = levelOf(key.securityLevel);
  const level = LEVELS[wanted];
  if (level === undefined) return [];
  const { cryptoperiodDays: most = Infinity } = policyFor(level);
  const isLower = levelOf(policy.securityLevel) < wanted;
  const isLonger = (policy.cryptoperiodDays ?? Infinity) > most;
  const found = isLower
    ? `a policy of level ${policy.securityLevel ?? 'none'}`
    : `a cryptoperiod of ${String(policy.cryptoperiodDays ?? 'no')} days`;
  const message = `It is of level ${level}, and has ${found}.`;
  return findingIf(isLower || isLonger, titled(key), message, `Give it policyFor('${level}').`);
}
