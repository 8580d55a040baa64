/**
 * Runs the programs of a test project one after the other in one process, so that TypeORM and the
 * library are loaded once. Each program finds its own arguments and environment, ends when nothing is
 * left to do or by process.exit(), and has its output collected. See program-host.ts.
 */
'use strict';
const { realpathSync } = require('node:fs');
const { createRequire } = require('node:module');
const { join, sep } = require('node:path');
const { setTimeout } = require('node:timers/promises');
const { pathToFileURL } = require('node:url');
const { inspect } = require('node:util');

const folder = process.cwd();
const modules = join(folder, 'node_modules') + sep;
const exit = process.exit.bind(process);
const EXITED = new Error('the program has called process.exit()');

const LASTING =
  /^(Timeout|TCPSocketWrap|TCPServerWrap|MessagePort|Worker|ProcessWrap|FSEventWrap)$/;

/** More than the servers of tests take to see that a client has left. */
const CLOSING_MS = 100;

/** The program that runs, if any: its output so far. */
let running;

for (const stream of ['stdout', 'stderr']) {
  process[stream].write = (chunk, encoding, done) => {
    if (running !== undefined) running[stream] += chunk;
    const callback = typeof encoding === 'function' ? encoding : done;
    if (callback !== undefined) process.nextTick(callback);
    return true;
  };
}

process.exit = (code) => {
  finish(code ?? process.exitCode ?? 0, 'exit');
  throw EXITED;
};
process.on('beforeExit', () => finish(process.exitCode ?? 0, 'end'));
for (const event of ['uncaughtException', 'unhandledRejection']) {
  process.on(event, (error) => {
    if (error === EXITED || running === undefined) return;
    process.stderr.write(`${inspect(error)}\n`);
    finish(1, 'exit');
  });
}

process.on('message', ({ file, args, env }) => {
  running = { stdout: '', stderr: '' };
  process.argv = [process.execPath, file, ...args];
  process.exitCode = undefined;
  for (const name of Object.keys(process.env)) delete process.env[name];
  Object.assign(process.env, env);
  for (const cached of Object.keys(require.cache)) {
    if (cached.startsWith(folder + sep) && !cached.startsWith(modules))
      delete require.cache[cached];
  }
  delete require.cache[file];
  // Nothing but the program keeps the process alive now, so that its end is seen.
  process.channel.unref();
  createRequire(pathToFileURL(join(folder, 'package.json')))(file);
});

async function finish(code, how) {
  if (running === undefined) return;
  const { stdout, stderr } = running;
  running = undefined;
  process.channel.ref();
  // What a program leaves open would meet the next one.
  const isClean = how === 'end' || (await isSoonClean());
  process.send({ code: Number(code), stdout, stderr, isClean });
  if (isClean) return;
  process.disconnect();
  exit(0);
}

/** Waits for connections that are being closed: process.exit() would not have. */
async function isSoonClean() {
  for (let waited = 0; waited < CLOSING_MS; waited++) {
    if (!process.getActiveResourcesInfo().some((name) => LASTING.test(name))) return true;
    await setTimeout(1, undefined, { ref: false });
  }
  return false;
}

process.channel.ref();
