import { writeFileSync } from 'node:fs';

import { confirm, readPassphrase } from '../../src/cli/terminal/prompt';

/** Asks everything that a command may ask, one after the other, and writes down what came of it. */
async function main(): Promise<void> {
  const outcomes: unknown[] = [];
  const note = async (work: () => Promise<unknown>): Promise<void> => {
    outcomes.push(await work().catch(described));
  };
  const erase = { warning: 'This erases the key.', word: 'abcd' };
  await note(() => readPassphrase({}, true));
  await note(() => readPassphrase({}, true));
  await note(() => readPassphrase({}, true));
  await note(() => readPassphrase({}, false));
  for (let at = 0; at < 3; at += 1) await note(() => confirm(false, erase).then(() => 'confirmed'));
  writeFileSync(process.argv[2] ?? '', JSON.stringify(outcomes));
}

function described(error: unknown): unknown {
  const { code, message, exitCode } = error as { code: string; message: string; exitCode: number };
  return { code, message, exitCode };
}

void main();
