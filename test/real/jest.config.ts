import type { Config } from 'jest';

/** Key servers that others wrote, run on this machine: `npm run test:real`. */
const config: Config = {
  rootDir: `${__dirname}/../..`,
  testEnvironment: 'node',
  displayName: 'real',
  testMatch: ['<rootDir>/test/real/**/*.test.ts'],
  modulePathIgnorePatterns: ['<rootDir>/dist/'],
  transform: {
    '\\.ts$': ['ts-jest', { tsconfig: '<rootDir>/tsconfig.json' }],
    '/node_modules/@noble/.+\\.js$': [
      'ts-jest',
      {
        tsconfig: { allowJs: true, module: 'commonjs', target: 'es2022', isolatedModules: true },
        diagnostics: false,
      },
    ],
  },
  transformIgnorePatterns: ['/node_modules/(?!@noble/)'],
  setupFiles: ['reflect-metadata'],
  globalSetup: '<rootDir>/test/real/global-setup.ts',
  testTimeout: 120_000,
  maxWorkers: 2,
};

export default config;
