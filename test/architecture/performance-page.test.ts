import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { charts } from '../../bench/report/charts';
import { performancePage } from '../../bench/report/page';
import type { Report } from '../../bench/report/report';

const root = join(__dirname, '..', '..');
const read = (...path: string[]): string => readFileSync(join(root, ...path), 'utf8');

describe('The page about performance', () => {
  const report = JSON.parse(read('bench', 'results', 'standard.json')) as Report;

  it('is what `npm run bench:docs` makes of the committed figures', () => {
    expect(read('docs', 'performance.md')).toBe(performancePage(report));
  });

  it('has the charts of the same figures, and no others', () => {
    const committed = readdirSync(join(root, 'docs', 'charts'));
    const drawn = Object.fromEntries(committed.map((name) => [name, read('docs', 'charts', name)]));
    expect(drawn).toEqual(charts(report));
  });
});
