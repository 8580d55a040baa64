import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

import { charts } from './report/charts';
import { performancePage } from './report/page';
import type { Report } from './report/report';

/** Makes docs/performance.md and its charts from the committed figures. Run from the repository. */
const report = JSON.parse(readFileSync('bench/results/standard.json', 'utf8')) as Report;
for (const [name, svg] of Object.entries(charts(report))) write(join('docs/charts', name), svg);
write('docs/performance.md', performancePage(report));

function write(file: string, content: string): void {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, content);
}
