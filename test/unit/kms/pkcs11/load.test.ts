import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { promisify } from 'node:util';

import type { Load, LoadReport } from '../../../support/pkcs11-load';
import type { TestModule } from '../../../support/pkcs11-modules';
import {
  nss,
  PIN,
  softHsm,
  softHsmEnvironment,
  TYPESCRIPT_THREADS,
} from '../../../support/pkcs11-modules';
import { describeOn } from '../../../support/pkcs11-suite';

const PROCESSES = 2;
const THREADS = 4;
/** A minute of it with SLOW_TESTS=1. */
const MILLISECONDS = process.env.SLOW_TESTS === '1' ? 60_000 : 1_500;

async function inProcess(load: Load): Promise<LoadReport> {
  const script = join(__dirname, '../../../support/pkcs11-load.ts');
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [...TYPESCRIPT_THREADS, script, JSON.stringify(load)],
    { env: { ...process.env, ...softHsmEnvironment() } },
  );
  return JSON.parse(stdout) as LoadReport;
}

function loadOn(module: TestModule): Load {
  const options = {
    ...module.token(),
    pin: PIN,
    keyLabel: `load-${randomBytes(4).toString('hex')}`,
    createKey: true,
    timeoutMs: 60_000,
  };
  return { options, threads: THREADS, milliseconds: MILLISECONDS };
}

for (const module of [softHsm, nss]) {
  describeOn(module, 'Several processes with several threads', () => {
    it(
      'wrap and unwrap at once, under one KEK that one of them has made, without an error',
      async () => {
        const load = loadOn(module);

        const reports = await Promise.all(Array.from({ length: PROCESSES }, () => inProcess(load)));

        expect(reports.flatMap(({ errors }) => errors)).toEqual([]);
        expect(new Set(reports.flatMap(({ keks }) => keks)).size).toBe(1);
        for (const { operations } of reports)
          expect(operations).toBeGreaterThanOrEqual(THREADS * 8);
      },
      MILLISECONDS + 60_000,
    );
  });
}
