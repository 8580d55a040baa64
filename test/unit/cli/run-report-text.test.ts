import { describeReport } from '../../../src/cli/commands/run-report-text';
import type { RunReport } from '../../../src';

const REPORT: RunReport = {
  mode: 'verify',
  scanned: 6001,
  changed: 0,
  skipped: 6001,
  erased: 0,
  toBeErased: 0,
  doneBefore: 0,
  conflicts: 0,
  failed: 0,
  failures: [],
  aborted: false,
  resumed: false,
  remaining: null,
};
const FAILURE = {
  entity: 'Patient',
  property: 'ssn',
  primaryKey: [7],
  code: 'STALE_TOKEN',
} as const;

describe('The report of a run for people', () => {
  const described = (changes: Partial<RunReport>, dryRun = false): string =>
    describeReport(
      { ...REPORT, ...changes },
      { dryRun, seconds: 1.24, isPartial: changes.remaining === 0 },
    );

  it('says what a verification has proven', () => {
    expect(described({})).toBe('6,001 rows read in 1.2 s, all values and tokens right.');
    expect(described({ failed: 1, failures: [FAILURE] })).toBe(
      '6,001 rows read in 1.2 s, 1 of them with a value that cannot be read or a wrong token.\n  Patient 7: ssn: STALE_TOKEN',
    );
  });

  it('says once how to settle rows of an unknown key, which may be cleartext', () => {
    const failures = [7, 8].map((key) => ({
      ...{ ...FAILURE, primaryKey: [key] },
      code: 'ERR_KEY_NOT_FOUND' as const,
    }));
    const text = described({ mode: 'encrypt', failed: 2, failures });
    expect(text.match(/repository\.update\(\)/g)).toHaveLength(1);
  });

  it('has one estimate of the time in a dry run', () => {
    const plan = { mode: 'reencrypt', tables: [], estimatedSeconds: 9 } as const;
    const text = described({ mode: 'reencrypt', changed: 5, plan }, true);
    expect(text.match(/\d s\b/g)).toEqual(['9 s']);
    expect(text).toContain('5 rows would be re-encrypted: 6,001 read');
    expect(described({ mode: 'reencrypt', remaining: 0 })).toContain('None of these rows is left');
  });

  it('says why the exit code is 1 where no row has failed', () => {
    const left = { mode: 'encrypt', remaining: 2 } as const;
    expect(described(left)).toMatch(/2 rows are left, .*: they were .* Run the command again\.$/);
    expect(described({ ...left, failed: 1, failures: [FAILURE], remaining: 1 })).toMatch(
      /1 row is left, by a count in the database\.$/,
    );
  });
});
