#!/usr/bin/env node
import { run } from './run';

void run(process.argv.slice(2)).then((exitCode) => {
  // Modules of the application may hold timers and servers open; the command is done nevertheless.
  process.stdout.write('', () => process.exit(exitCode));
});
