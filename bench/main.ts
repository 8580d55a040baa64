import 'reflect-metadata';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

import { startMariadb } from '../test/support/mariadb-server';
import { startPostgres } from '../test/support/postgres-server';
import type { TestServer } from '../test/support/server-process';

import { isHeld, judge } from './bounds';
import type { Verdict } from './bounds';
import { askChild } from './child';
import type { RunQuestion } from './children/run';
import { isAvailable, SERVER_URLS, serverUrl } from './databases';
import type { ServerKind } from './databases';
import { describeMachine, hasAddOn } from './machine';
import { peerVersions } from './peers';
import { pooled, shareOfRounds } from './pool';
import type { Report } from './report/report';
import { resultTable, verdictTable } from './report/table';
import type { Result, Scenario, Sizes } from './scenario';
import { SCENARIOS } from './scenarios';
import type { ScenarioName } from './scenarios';
import { sizesFor } from './sizes';
import { buildFor } from './typeorm-major';
import type { Major } from './typeorm-major';

const NAMES = Object.keys(SCENARIOS) as ScenarioName[];

const HELP = `npm run bench -- [options]
  --smoke      small sizes, one round: only shows that every scenario runs
  --large      also re-encrypts tables of up to a million rows
  --rounds N   instead of 5, 9, or what 3 seconds hold (9 at least), by how long one takes
  --only NAME  one scenario: ${NAMES.join(', ')}
  --json FILE  writes the figures to FILE as well
  --check      fails when a bound is broken (bench/bounds.ts), or was not measured`;

const OPTIONS = {
  smoke: { type: 'boolean', default: false },
  large: { type: 'boolean', default: false },
  rounds: { type: 'string' },
  only: { type: 'string' },
  json: { type: 'string' },
  check: { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
} as const;

async function main(): Promise<void> {
  const { values } = parseArgs({ options: OPTIONS });
  if (values.help) {
    console.log(HELP);
    return;
  }
  if (values.smoke && values.check) throw new Error('--check needs the full sizes, not --smoke.');
  const { only } = values;
  const names = NAMES.filter((name) => only === undefined || name === only);
  if (names.length === 0) throw new Error(`There is no scenario ${String(only)}.\n${HELP}`);
  sayWhatIsMissing();
  const servers = [
    await useServer('PostgreSQL', startPostgres),
    await useServer('MariaDB', startMariadb),
  ];
  try {
    const machine = await describeMachine();
    console.log(machine);
    const results = await run(planOf(names, sizesFor(values)), (done) => {
      if (values.json !== undefined) write(values.json, { machine, results: done });
    });
    if (values.check) {
      check(judge(results).filter(({ bound }) => values.large || bound.large !== true));
    }
  } finally {
    for (const server of servers) await server?.stop();
  }
}

/** A run of a scenario, for one major of TypeORM. */
interface Run extends RunQuestion {
  readonly major: Major;
  readonly processes: number;
  readonly env: NodeJS.ProcessEnv;
}

function planOf(names: readonly ScenarioName[], sizes: Sizes): readonly Run[] {
  const all = names.flatMap((scenario) => {
    const { majors, databases, processes: most = 1, inJavaScript }: Scenario = SCENARIOS[scenario];
    const env = { FIELD_ENCRYPTION_NATIVE: inJavaScript !== true && hasAddOn() ? '1' : '0' };
    const processes = Math.min(most, sizes.rounds.atLeast);
    const share = shareOfRounds(sizes, processes);
    return majors.flatMap((major) =>
      databases.map((database) => ({
        scenario,
        major,
        processes,
        env,
        setting: { sizes: share, database },
      })),
    );
  });
  return all.filter(({ setting }) => isAvailable(setting.database));
}

/**
 * Runs each scenario in processes of its own, so that none inherits a heap or compiled code. Calls
 * `onDone` after each with the results so far.
 */
async function run(
  plan: readonly Run[],
  onDone: (results: readonly Result[]) => void,
): Promise<Result[]> {
  const builds = new Map(
    [...new Set(plan.map(({ major }) => major))].map((major) => [major, buildFor(major)]),
  );
  const results: Result[] = [];
  for (const { major, processes, env, ...question } of plan) {
    const module = join(builds.get(major) ?? '', 'bench', 'children', 'run.js');
    const measured: Result[][] = [];
    while (measured.length < processes) {
      measured.push(await askChild<Result[]>(module, question, { env }));
    }
    for (const result of pooled(measured)) {
      results.push(result);
      console.log(resultTable(result));
    }
    onDone(results);
  }
  return results;
}

function sayWhatIsMissing(): void {
  if (!hasAddOn()) console.log('The add-on is not built, so all is without it (npm run native).');
  const missing = Object.entries(peerVersions()).flatMap(([name, version]) =>
    version === undefined ? [name] : [],
  );
  if (missing.length === 0) return;
  console.log(`Not installed, so not measured: ${missing.join(', ')} (npm run bench:peers).`);
}

/** Starts a server, unless the environment names one or none is installed. */
async function useServer(
  kind: ServerKind,
  start: typeof startPostgres,
): Promise<TestServer | undefined> {
  if (serverUrl(kind) !== undefined) return undefined;
  try {
    const server = await start({ durable: true });
    process.env[SERVER_URLS[kind]] = server.url;
    return server;
  } catch (error) {
    console.log(`No ${kind}, so nothing is measured on it: ${String(error)}`);
    return undefined;
  }
}

function write(file: string, report: Report): void {
  writeFileSync(file, `${JSON.stringify(report, null, 2)}\n`);
}

function check(verdicts: readonly Verdict[]): void {
  console.log(verdictTable(verdicts));
  if (!verdicts.every(isHeld)) process.exitCode = 1;
}

main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
