import { keyInfo, scheduleProblem } from '../../../src/keys/policy/key-policy';
import { ConfigurationError } from '../../../src';
import { keyStatistics } from '../../../src/keys/policy/key-statistics';
import { policyFor } from '../../../src/keys/policy/policy-presets';
import type { KeyInfo } from '../../../src/keys/record/key-info';
import type { KeyState } from '../../../src/keys/record/key-state';
import type { RetentionPolicy } from '../../../src/keys/policy/retention-policy';
import { isRetained } from '../../../src/keys/policy/retention-policy';
import type { RotationPolicy } from '../../../src/keys/policy/rotation-policy';
import { nextRotationAt } from '../../../src/keys/policy/rotation-policy';
import { someRecord } from '../../support/key-fixtures';

const activatedAt = new Date('2026-01-31T10:00:00Z');
const expiresAt = new Date('2027-01-31T10:00:00Z');

describe('nextRotationAt', () => {
  it.each<[RotationPolicy, string | null]>([
    [{ kind: 'manual' }, null],
    [{ kind: 'periodic' }, '2026-05-01T10:00:00.000Z'],
    [{ kind: 'periodic', everyDays: 1 }, '2026-02-01T10:00:00.000Z'],
    [{ kind: 'beforeExpiry' }, '2027-01-24T10:00:00.000Z'],
    [{ kind: 'beforeExpiry', days: 30 }, '2027-01-01T10:00:00.000Z'],
    [{ kind: 'cron', pattern: '0 3 1 * *' }, '2026-02-01T03:00:00.000Z'],
    [
      { kind: 'cron', pattern: '0 3 1 * *', timezone: 'America/New_York' },
      '2026-02-01T08:00:00.000Z',
    ],
    [{ kind: 'useCount', maxUses: 1000 }, '2026-01-31T10:00:00.000Z'],
    [{ kind: 'useCount', maxUses: 1001 }, null],
  ])('of %j', (policy, expected) => {
    expect(
      nextRotationAt(policy, { activatedAt, expiresAt, useCount: 1000 })?.toISOString() ?? null,
    ).toBe(expected);
  });

  it('is never for a key that does not expire or was not activated', () => {
    const endless = { activatedAt, expiresAt: null, useCount: 0 };
    expect(nextRotationAt({ kind: 'beforeExpiry' }, endless)).toBeNull();
    const announced = { activatedAt: null, expiresAt: null, useCount: 0 };
    expect(nextRotationAt({ kind: 'periodic' }, announced)).toBeNull();
    expect(nextRotationAt({ kind: 'cron', pattern: '0 3 * * *' }, announced)).toBeNull();
  });
});

describe('isRetained', () => {
  const now = new Date('2026-06-30T00:00:00Z');
  const versions = [1, 2, 3, 4].map((version) =>
    keyInfo(
      someRecord({
        version,
        state: version === 4 ? 'active' : 'deactivated',
        // The clock of the process that rotated last was a year behind.
        deactivatedAt: new Date(version === 3 ? '2025-06-01T00:00:00Z' : '2026-06-01T00:00:00Z'),
      }),
    ),
  );
  const kept = (policy: RetentionPolicy): number[] =>
    versions
      .slice(0, 3)
      .filter((key) => isRetained(policy, key, versions, now))
      .map(({ version }) => version);

  it('keeps by age, number of versions, need, or what the application says', () => {
    expect(kept({ kind: 'forever' })).toEqual([1, 2, 3]);
    expect(kept({ kind: 'untilReencrypted' })).toEqual([]);
    expect(kept({ kind: 'minimumAge', days: 29 })).toEqual([]);
    const revoked = { ...versions[0]!, deactivatedAt: null, compromisedAt: new Date('2026-06-01') };
    expect(isRetained({ kind: 'minimumAge', days: 28 }, revoked, [], now)).toBe(false);
    expect(isRetained({ kind: 'minimumAge', days: 30 }, revoked, [], now)).toBe(true);
    expect(kept({ kind: 'minimumAge', days: 30 })).toEqual([1, 2]);
    expect(kept({ kind: 'custom', keep: ({ version }) => version === 2 })).toEqual([2]);
  });

  it('orders versions by number, whatever their dates say', () => {
    expect(kept({ kind: 'lastVersions', count: 2 })).toEqual([3]);
    expect(kept({ kind: 'lastVersions', count: 3 })).toEqual([2, 3]);
  });
});

describe('scheduleProblem', () => {
  it.each([
    [{ rotation: { kind: 'weekly' } }, 'rotation.kind'],
    [{ rotation: { kind: 'periodic', everyDays: 0 } }, 'everyDays'],
    [{ rotation: { kind: 'beforeExpiry' } }, 'cryptoperiodDays'],
    [{ rotation: { kind: 'beforeExpiry', days: 90 }, cryptoperiodDays: 90 }, 'days must be less'],
    [{ rotation: { kind: 'cron', pattern: 'every day' } }, 'pattern'],
    [{ rotation: { kind: 'cron', pattern: '0 0 * * *', timezone: 'Mars/Base' } }, 'timezone'],
    [{ rotation: { kind: 'cron', pattern: '0 0 30 2 *' } }, 'never'],
    [{ rotation: { kind: 'useCount', maxUses: 0.5 } }, 'maxUses'],
    [{ retention: { kind: 'sometimes' } }, 'retention.kind'],
    [{ retention: { kind: 'minimumAge', days: Number.NaN } }, 'days'],
    [{ retention: { kind: 'lastVersions', count: 1.5 } }, 'count'],
    [{ retention: { kind: 'custom' } }, 'keep'],
  ])('names what is wrong with %j', (policy, expected) => {
    expect(scheduleProblem(policy as never)).toContain(expected);
  });

  it('has nothing against policies that work', () => {
    expect(scheduleProblem({})).toBeUndefined();
    expect(
      scheduleProblem({
        rotation: { kind: 'beforeExpiry' },
        cryptoperiodDays: 90,
        retention: { kind: 'lastVersions', count: 3 },
      }),
    ).toBeUndefined();
  });
});

describe('keyStatistics', () => {
  it('counts keys by state and age', () => {
    const now = new Date('2026-06-01T00:00:00Z');
    const daysAgo = (days: number): Date => new Date(now.getTime() - days * 86_400_000);
    const key = (state: KeyState, days: number, expires: number | null = null): KeyInfo =>
      keyInfo({
        ...someRecord(),
        ...{ state, createdAt: daysAgo(days), activatedAt: daysAgo(days - 1) },
        expiresAt: expires === null ? null : daysAgo(expires),
      });
    const keys = [
      ...[key('active', 31, 0), key('active', 10, -1), key('deactivated', 91, 60)],
      ...[key('deactivated', 400), key('destroyed', 800)],
    ];
    expect(keyStatistics(keys, now)).toEqual({
      ...{ total: 5, active: 2, expired: 1, oldestActiveDays: 30 },
      byState: { active: 2, deactivated: 2, destroyed: 1 },
      byAge: { upTo30Days: 1, upTo90Days: 1, upTo365Days: 1, older: 1 },
    });
    expect(keyStatistics([], now)).toMatchObject({ total: 0, byState: {}, oldestActiveDays: null });
  });
});

describe('policyFor', () => {
  it.each([
    ['high', 30],
    ['moderate', 90],
    ['low', 180],
  ] as const)('%s rotates every %d days', (level, everyDays) => {
    const policy = policyFor(level);
    expect(policy).toMatchObject({ securityLevel: level, rotation: { everyDays } });
    expect(policy.cryptoperiodDays).toBeGreaterThan(everyDays);
    expect(scheduleProblem(policy)).toBeUndefined();
  });

  it('refuses a level that there is not', () => {
    expect(() => policyFor('toString' as never)).toThrow(ConfigurationError);
  });
});
