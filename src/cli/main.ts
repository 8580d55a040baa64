#!/usr/bin/env node
import { run } from './run';

void run(process.argv.slice(2)).then((exitCode) => {
  // Timers and servers of the application's modules must not keep the process alive.
  process.stdout.write('', () => process.exit(exitCode));
});
