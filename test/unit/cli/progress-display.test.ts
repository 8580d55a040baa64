import { performance } from 'node:perf_hooks';

import { progressDisplay } from '../../../src/cli/terminal/progress-display';
import type { Output } from '../../../src/cli/terminal/output';
import type { RunProgress } from '../../../src/reencryption/report/run-report';

describe('The progress of a run where there is no terminal', () => {
  let lines: string[];
  let now: jest.SpyInstance<number>;

  beforeEach(() => {
    lines = [];
    now = jest.spyOn(performance, 'now');
  });

  function progressAt(seconds: number, scanned: number): RunProgress {
    now.mockReturnValue(seconds * 1000);
    return { entity: 'Patient', scanned, total: 100_000, doneBefore: 20_000 } as RunProgress;
  }

  it('tells no rate before it is measured, and then none of what came before the first page', () => {
    const output = { progress: (line: string) => lines.push(line) } as unknown as Output;
    const display = progressDisplay(output);
    display.update(progressAt(100, 20_050));
    display.update(progressAt(101, 21_050));
    display.update(progressAt(104, 24_050));
    display.update(progressAt(105, 25_050));
    display.stop();
    expect(lines).toEqual([
      'Patient: 20,050 of 100,000 rows in all tables',
      'Patient: 24,050 of 100,000 rows in all tables, 1,000 rows/s, 76 s left',
      'Patient: 25,050 of 100,000 rows in all tables, 1,000 rows/s, 75 s left',
    ]);
  });
});
