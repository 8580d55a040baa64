import type { Config } from 'jest';

import { transforms } from '../support/transform';

/** Key servers that others wrote, run on this machine: `npm run test:real`. */
const config: Config = {
  rootDir: `${__dirname}/../..`,
  testEnvironment: 'node',
  displayName: 'real',
  testMatch: ['<rootDir>/test/real/**/*.test.ts'],
  modulePathIgnorePatterns: ['<rootDir>/dist/'],
  ...transforms,
  setupFiles: ['reflect-metadata'],
  globalSetup: '<rootDir>/test/real/global-setup.ts',
  testTimeout: 120_000,
  maxWorkers: 2,
};

export default config;
