import 'reflect-metadata';
import { readFileSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import type { DataSource } from 'typeorm';

import { fieldEncryption } from '../../src';
import { answer } from '../child';
import type { Database } from '../databases';
import { keyFileKms } from '../kms';
import { openDocuments } from '../scenarios/documents';

export interface RotationQuestion {
  readonly database: Database;
  readonly keyFile: string;
}

export interface RotationAnswer {
  readonly elapsedMs: number;
  readonly cpuMs: number;
  /** Peak memory of the process. */
  readonly peakMegabytes: number;
}

answer(async ({ database, keyFile }: RotationQuestion): Promise<RotationAnswer> => {
  const dataSource = await openDocuments(database, keyFileKms(keyFile));
  await limitCache(dataSource);
  await fieldEncryption(dataSource).keys.rotate();
  const start = performance.now();
  const cpuBefore = process.cpuUsage();
  await fieldEncryption(dataSource).reencrypt();
  const elapsedMs = performance.now() - start;
  const { user, system } = process.cpuUsage(cpuBefore);
  await dataSource.destroy();
  return {
    elapsedMs,
    cpuMs: (user + system) / 1000,
    peakMegabytes: peakKilobytes() / 1024,
  };
});

/**
 * Limits the page cache of SQLite, by default 16 MB in better-sqlite3: a large table would fill it, and a
 * small one would not, whatever the run needs.
 */
async function limitCache(dataSource: DataSource): Promise<void> {
  if (dataSource.options.type === 'better-sqlite3') {
    await dataSource.query('PRAGMA cache_size = -2000');
  }
}

/** Reads the peak from the system: `maxRSS` in Node.js may be the parent's, which Linux hands on. */
function peakKilobytes(): number {
  if (process.platform !== 'linux') return process.resourceUsage().maxRSS;
  const status = readFileSync('/proc/self/status', 'utf8');
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]);
}
