import type { Measurement } from '../../../bench/measure';
import { pooled, shareOfRounds } from '../../../bench/pool';
import type { Result } from '../../../bench/scenario';
import { sizesFor } from '../../../bench/sizes';

function result(medians: Record<string, number>): Result {
  const measurements = Object.entries(medians).map(([variant, medianMs]): Measurement => ({
    variant,
    medianMs,
    minMs: medianMs / 2,
    maxMs: medianMs * 2,
    cpuMs: medianMs,
    ratio: Number.NaN,
    figures: { trips: 3 },
  }));
  return { scenario: 'find()', setting: 'SQLite', unit: 'one find()', measurements };
}

describe('Processes that measure the same', () => {
  it('are pooled to the medians of their medians and of their ratios', () => {
    const [one, ...more] = pooled([
      [result({ plain: 2, ours: 9 })],
      [result({ plain: 1, ours: 3 })],
      [result({ plain: 4, ours: 4 })],
    ]);

    expect(more).toEqual([]);
    expect(one).toEqual({
      scenario: 'find()',
      setting: 'SQLite',
      unit: 'one find()',
      processes: 3,
      measurements: [
        {
          ...{ variant: 'plain', medianMs: 2, minMs: 0.5, maxMs: 8, cpuMs: 2, ratio: 1 },
          processMediansMs: [2, 1, 4],
          figures: { trips: 3 },
        },
        {
          ...{ variant: 'ours', medianMs: 4, minMs: 1.5, maxMs: 18, cpuMs: 4, ratio: 3 },
          processMediansMs: [9, 3, 4],
          figures: { trips: 3 },
        },
      ],
    });
  });

  it('share out the rounds, and no less', () => {
    const sizes = sizesFor({ smoke: false, large: true });
    const share = shareOfRounds(sizes, 3);

    for (const kind of ['rounds', 'slowRounds', 'longRounds'] as const) {
      expect(3 * share[kind].atLeast).toBeGreaterThanOrEqual(sizes[kind].atLeast);
      expect(3 * share[kind].seconds).toBeCloseTo(sizes[kind].seconds);
    }
    expect({ ...share, ...sizes }).toEqual(sizes);
  });
});
