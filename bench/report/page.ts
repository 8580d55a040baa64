import { boundName, isHeld, judge } from '../bounds';
import type { Bound, Verdict } from '../bounds';
import { WITHOUT_ADD_ON } from '../scenarios/without-add-on';

import { conclusions } from './conclusions';
import { digits } from './format';
import { code, details, matrix, table } from './markdown';
import { resultsOf } from './ratios';
import type { Report } from './report';

const READS = ['find()', 'findOneBy({ id })', 'findOneBy({ email })'];
const WRITES = [
  'save() of new entities in chunks',
  'save() of new entities one by one',
  'insert() in chunks',
  'update() of one secret column',
  'save() of untouched entities',
];
const IN_JAVASCRIPT = [READS[0], READS[1], ...WRITES].map(
  (name) => `${name ?? ''}${WITHOUT_ADD_ON}`,
);
const LENGTHS = ['16 B', '64 B', '256 B', '1 KiB', '16 KiB'];

/** Writes docs/performance.md. */
export function performancePage(report: Report): string {
  const sections = [
    '# Performance',
    `What encryption costs: this library, its peers, what a careful team would write by hand, and the floor, in one run. \`npm run bench:docs\` makes this page and its charts from the figures in \`bench/results/standard.json\`; the variants take turns within each round, and every number is a median${ofProcesses(report)}. **Trust the ratios**; the times are those of one machine.`,
    ...(report.remark === undefined ? [] : [`> ${report.remark}`]),
    `## What to conclude\n\n${conclusions(report)}`,
    `## One value\n\nA string into a text column and back, in memory. The floors do what has to be done and nothing else: they know one key, and name none in what they store.\n\n![One value](charts/one-value.svg)\n\n${oneValue(report)}`,
    `## Entities\n\nTen columns, four of them encrypted; plain columns are 1.00. The hand-tuned transformer is what a careful team writes over node:crypto. [typeorm-encrypted](https://github.com/generalpiston/typeorm-encrypted) is measured with its transformer, AES-256-GCM.\n\n![find()](charts/find.svg)\n\n${bySetting(report, READS)}\n\ntypeorm-encrypted has no way to find a row by an encrypted value.\n\n![Writes](charts/writes.svg)\n\n${bySetting(report, WRITES)}\n\nA transformer with random nonces makes TypeORM believe that every encrypted column has changed: saving entities that were just loaded writes them all again. This library compares what was decrypted.`,
    `## Without the add-on\n\nWhere [the add-on](native-add-on.md) is not installed, node:crypto makes a cipher object for each value.\n\n${bySetting(report, IN_JAVASCRIPT)}`,
    `## Rotation\n\n\`reencrypt()\` moves every row to the active key, by compare-and-swap, while the application writes. The floor is one statement that the server runs by itself, without decrypting anything. A repository is what is left to the users of libraries without a runner.\n\n![Rotation](charts/rotation.svg)\n\n${bySetting(report, ['rotation'])}${growth(report)}`,
    `## Many data keys\n\n${detailed(report, ['start-up', 'find() over many data keys', 'find() with a cold key cache'])}`,
    `## HTTP\n\nA controller over a repository: of ten requests, six read one person, two a page of 50, two add one; the server and its clients share the machine.\n\n![HTTP service](charts/http.svg)\n\n${detailed(report, ['HTTP service'])}`,
    `## HSM\n\nWrapping and unwrapping a data key in SoftHSM2, which happens when keys are made, loaded and rewrapped, and never for a value.\n\n${detailed(report, ['PKCS #11'])}`,
    `## What is held\n\n\`npm run bench -- --check\` fails when one of these is broken. A bound is broken by more than twice the spread of the processes that measured it. Where it was measured in several settings, the worst stands here.\n\n${bounds(report)}`,
    `## The machine\n\n${machine(report)}`,
    '## Run it again\n\n<!-- needs: a quiet machine -->\n```sh\nnpm ci\nnpm run bench:peers\nnpm run native\nnpm run bench -- --json bench/results/standard.json --check\nnpm run bench:docs\n```\n\nWithout `npm run native`, all is measured without the add-on; without `bench:peers`, the peers and the HTTP service are left out. PostgreSQL comes with the development dependencies, and waits for its disk as it does in production; `FIELD_ENCRYPTION_TEST_PG_URL` names another server. `--only entities` runs one scenario, `--large` adds tables of up to a million rows.',
  ];
  // A section without measurements ends where its tables would be.
  return `${sections.filter((section) => !section.endsWith('\n\n')).join('\n\n')}\n`;
}

/** Explains the number of processes and what their ratios are, if there were several. */
function ofProcesses({ results }: Report): string {
  const most = Math.max(1, ...results.map(({ processes = 1 }) => processes));
  return most === 1
    ? ''
    : `, where a round is short that of ${String(most)} processes, and of the ratios in each of them`;
}

function oneValue(report: Report): string {
  const columns = (work: string): string =>
    matrix(
      LENGTHS.flatMap((heading) =>
        resultsOf(report, `${work} ${heading}`).map((result) => ({ heading, result })),
      ),
    );
  const token = detailed(report, ['blind-index token', `blind-index token${WITHOUT_ADD_ON}`]);
  return `### Encrypt\n\n${columns('encrypt')}\n\n### Decrypt\n\n${columns('decrypt')}\n\n${token}`;
}

function bySetting(report: Report, scenarios: readonly string[]): string {
  return scenarios
    .filter((scenario) => resultsOf(report, scenario).length > 0)
    .map((scenario) => {
      const results = resultsOf(report, scenario);
      const columns = results.map((result) => ({ heading: result.setting, result }));
      return `### ${title(scenario)}\n\nTimes are of ${results[0]?.unit ?? ''}.\n\n${matrix(columns)}`;
    })
    .join('\n\n');
}

function detailed(report: Report, scenarios: readonly string[]): string {
  return scenarios
    .flatMap((scenario) => resultsOf(report, scenario))
    .map((result) => {
      const { scenario, setting, unit } = result;
      const where = setting === '' ? '' : `${setting}. `;
      return `### ${title(scenario)}\n\n${where}Times are of ${unit}.\n\n${details(result)}`;
    })
    .join('\n\n');
}

/** Writes the section on growth, which needs a run with `--large`. */
function growth(report: Report): string {
  return resultsOf(report, 'rotation of a growing table')
    .map((result) => `\n\n### ${result.setting}: a growing table\n\n${details(result)}`)
    .join('');
}

function bounds({ results }: Report): string {
  const worst = new Map<Bound, Verdict>();
  for (const verdict of judge(results)) {
    const known = worst.get(verdict.bound);
    if (known === undefined || (verdict.value ?? Infinity) > (known.value ?? Infinity)) {
      worst.set(verdict.bound, verdict);
    }
  }
  const rows = [...worst.values()].map((verdict) => [
    code(boundName(verdict.bound)),
    digits(verdict.bound.atMost),
    verdict.value === undefined ? '–' : digits(verdict.value),
    verdict.value === undefined ? 'not measured' : isHeld(verdict) ? 'held' : '**broken**',
  ]);
  return table(['', 'at most', 'measured', ''], rows);
}

function machine({ machine: found, results }: Report): string {
  const settings = new Set(results.map(({ setting }) => setting.replace(/, .*/, '')));
  const typeorm = [...settings].filter((setting) => setting.startsWith('TypeORM '));
  const rows = [
    ['processor', `${String(found.cores)} × ${found.cpu}`],
    ['memory', `${String(found.memoryGb)} GiB`],
    ['system', found.system],
    ['Node.js', found.node],
    ['add-on', found.addOn ? 'built here' : 'none'],
    ['TypeORM', typeorm.map((setting) => setting.slice('TypeORM '.length)).join(', ')],
    ['PostgreSQL', found.postgres ?? 'none'],
    ...(found.mariadb === undefined ? [] : [['MariaDB', found.mariadb]]),
    ...Object.entries(found.peers).map(([name, version]) => [code(name), version ?? 'none']),
    ['commit', found.commit ?? 'unknown'],
    ['date', found.date],
  ];
  return table(['', ''], rows);
}

function title(scenario: string): string {
  return scenario.charAt(0).toUpperCase() + scenario.slice(1);
}
