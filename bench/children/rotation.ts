import 'reflect-metadata';
import { performance } from 'node:perf_hooks';
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
  /** Most that the process ever held in memory. */
  readonly peakMegabytes: number;
}

answer(async ({ database, keyFile }: RotationQuestion): Promise<RotationAnswer> => {
  const dataSource = await openDocuments(database, keyFileKms(keyFile));
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
    peakMegabytes: process.resourceUsage().maxRSS / 1024,
  };
});
