'use strict';

// Makes and drops keys, fields and tokens, uses each, and hands over what no caller should.
// Run with --expose-gc; arguments: path of the binary, number of keys.
const { randomBytes, randomFillSync } = require('node:crypto');
const { setTimeout: sleep } = require('node:timers/promises');
const { Worker, isMainThread, workerData } = require('node:worker_threads');

const [binary, count] = isMainThread ? process.argv.slice(2) : workerData;
const addOn = require(binary);
const header = Buffer.from('010123456789abcdef', 'hex');
const ad = Buffer.from('associated data');
const odd = [
  undefined,
  null,
  '',
  'x',
  '\ud800',
  Symbol('x'),
  5,
  {},
  [],
  new Uint8Array(0),
  'A'.repeat(2e4),
];

function useOnce(functions, i) {
  const key = functions.dataKey(
    'xaes-256-gcm',
    randomBytes(32),
    header,
    i % 2 ? randomBytes(32) : undefined,
  );
  const seal = key.sealer(ad, 1, i % 3 > 0, 0);
  const open = key.opener(ad, 1, i % 3 > 0, 0);
  const token = functions.tokens(randomBytes(32), 1, 1 + (i % 256));
  const value = String.fromCodePoint(0x40 + i).repeat(i % 50);
  if (open(seal(value)) !== value) throw new Error('not what was sealed');
  for (const each of odd) [seal, open, token].map((call) => call(each, ad));
  for (const each of odd) {
    for (const make of [functions.dataKey, functions.tokens, key.sealer, key.opener, addOn.start]) {
      try {
        make('xaes-256-gcm', each, each, each);
        make(each, each, each, each);
      } catch (error) {
        if (!(error instanceof TypeError)) throw error;
      }
    }
  }
}

async function main() {
  const functions = addOn.start(() => randomFillSync(Buffer.alloc(16384)));
  for (let i = 0; i < Number(count); i += 1) {
    useOnce(functions, i);
    if (i % 100 === 0) await sleep(1);
  }
  for (let i = 0; i < 10 && functions.live() > 0; i += 1) {
    globalThis.gc?.();
    await sleep(10);
  }
  if (isMainThread && functions.live() > 0) throw new Error(`${functions.live()} are left`);
  if (!isMainThread) return;
  for (let i = 0; i < 4; i += 1) {
    const worker = new Worker(__filename, { workerData: [binary, 200] });
    if (i === 3) setTimeout(() => worker.terminate(), 50);
    await new Promise((resolve, reject) => worker.on('exit', resolve).on('error', reject));
  }
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
