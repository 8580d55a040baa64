import { writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import Table from 'cli-table3';
import { SIZES } from './scenario';
import type { Result, Scenario } from './scenario';
import { oneValue } from './scenarios/one-value';
import { pkcs11 } from './scenarios/pkcs11';
import { typeormOnSqlite } from './scenarios/typeorm';

const SCENARIOS: readonly Scenario[] = [oneValue, typeormOnSqlite, pkcs11];

const HELP = `npm run bench -- [--smoke] [--json FILE]
  --smoke      small sizes, one round: only shows that every scenario runs
  --json FILE  writes the figures to FILE as well`;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      smoke: { type: 'boolean', default: false },
      json: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(HELP);
    return;
  }
  const machine = `Node ${process.version}, ${String(cpus().length)} × ${cpus()[0]?.model ?? 'unknown'}`;
  console.log(machine);
  const results: Result[] = [];
  for (const scenario of SCENARIOS) {
    for (const result of await scenario(SIZES[values.smoke ? 'smoke' : 'full'])) {
      results.push(result);
      print(result);
    }
  }
  if (values.json !== undefined) {
    writeFileSync(values.json, `${JSON.stringify({ machine, results }, null, 2)}\n`);
  }
}

function print({ scenario, unit, measurements }: Result): void {
  const table = new Table({
    head: [`${scenario} (${unit})`, 'ratio', 'median ms', 'min', 'max'],
    colAligns: ['left', 'right', 'right', 'right', 'right'],
    style: { head: [], border: [] },
  });
  for (const { variant, ratio, medianMs, minMs, maxMs } of measurements) {
    table.push([
      variant,
      ratio.toFixed(2),
      medianMs.toFixed(1),
      minMs.toFixed(1),
      maxMs.toFixed(1),
    ]);
  }
  console.log(table.toString());
}

void main();
