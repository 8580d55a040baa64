import { boundName, isHeld, judge } from '../../../bench/bounds';
import type { Bound } from '../../../bench/bounds';
import type { Figures } from '../../../bench/measure';
import type { Result } from '../../../bench/scenario';

const bound: Bound = { scenario: 'find()', variant: 'ours', over: 'plain', atMost: 1.5 };

function result(setting: string, medians: Record<string, number>, figures: Figures = {}): Result {
  const measurements = Object.entries(medians).map(([variant, medianMs]) => ({
    ...{ variant, medianMs, minMs: medianMs, maxMs: medianMs, cpuMs: medianMs, ratio: 1, figures },
  }));
  return { scenario: 'find()', setting, unit: 'one find()', measurements };
}

/** What `--check` says of each setting. */
function verdictsOf(results: Result[], about = bound): [string, number | undefined, boolean][] {
  return judge(results, [about]).map((verdict) => [
    verdict.setting,
    verdict.value,
    isHeld(verdict),
  ]);
}

describe('The bounds of the benchmarks', () => {
  it('are held up to their ratio in every setting, each judged by itself', () => {
    const results = [
      result('SQLite', { plain: 2, ours: 3 }),
      result('PostgreSQL', { plain: 2, ours: 3.1 }),
    ];

    expect(verdictsOf(results)).toEqual([
      ['SQLite', 1.5, true],
      ['PostgreSQL', 1.55, false],
    ]);
  });

  it('compare the medians of each process, so that what all of one is slowed by does not count', () => {
    const [plain, ours] = result('SQLite', { plain: 4, ours: 5 }).measurements;
    const measurements = [
      { ...plain!, processMediansMs: [2, 4, 8] },
      { ...ours!, processMediansMs: [2.8, 5, 12] },
    ];

    expect(verdictsOf([{ ...result('SQLite', {}), measurements }])).toEqual([
      ['SQLite', 1.4, true],
    ]);
  });

  it('look at their own setting and figure alone', () => {
    const results = [
      result('file', { ours: 1 }, { trips: 12 }),
      result('memory', { ours: 1 }, { trips: 3 }),
    ];
    const figure: Bound = { scenario: 'find()', variant: 'ours', figure: 'trips', atMost: 10 };

    expect(verdictsOf(results, figure).map(([, , held]) => held)).toEqual([false, true]);
    expect(verdictsOf(results, { ...figure, setting: 'memory' })).toEqual([['memory', 3, true]]);
  });

  it('are not held by what was not measured', () => {
    expect(verdictsOf([])).toEqual([['', undefined, false]]);
    expect(verdictsOf([result('SQLite', { ours: 3 })])).toEqual([['SQLite', undefined, false]]);
  });

  it('have a name that says which variant is over which', () => {
    expect(boundName(bound)).toBe('find(): ours over plain');
  });
});
