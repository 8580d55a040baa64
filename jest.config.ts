/* @jest-config-loader-options {"swc": true} */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import type { Config } from 'jest';

import { isEachMajor, isWholeMatrix } from './test/support/test-matrix';
import { transforms } from './test/support/transform';

type Project = Exclude<NonNullable<Config['projects']>[number], string>;

const common: Project = {
  rootDir: __dirname,
  testEnvironment: 'node',
  // A suite runs once for each database, and a spy of the first must not count for the next.
  restoreMocks: true,
  modulePathIgnorePatterns: ['<rootDir>/dist/'],
  ...transforms,
};

/** Folders of test/unit whose subjects import TypeORM: they run once for each of its majors. */
const typeormFolders = ['typeorm', 'reencryption', 'cli', 'doctor'];

/** Examples import the package by name, as its users do. */
const moduleNameMapper = {
  '^typeorm-field-encryption$': '<rootDir>/src/index.ts',
  '^typeorm-field-encryption/(nestjs|opentelemetry)$': '<rootDir>/src/$1.ts',
  // They name their own files by what the compiler makes of them, as ES modules have to.
  '^(\\.{1,2}/.*)\\.js$': ['$1.js', '$1'],
};

const withTypeorm: Project = {
  ...common,
  moduleNameMapper,
  testMatch: [
    '<rootDir>/test/integration/**/*.test.ts',
    ...typeormFolders.map((folder) => `<rootDir>/test/unit/${folder}/**/*.test.ts`),
  ],
  setupFiles: ['reflect-metadata'],
  // Jest finds packages of the repository by name, installed or not: these tests go without the add-on.
  modulePathIgnorePatterns: ['<rootDir>/dist/', '<rootDir>/native/'],
  // Jest runs it once for both projects, and not at all when no test of theirs was selected.
  globalSetup: '<rootDir>/test/support/global-setup.ts',
  globalTeardown: '<rootDir>/test/support/global-teardown.ts',
};

/** So long that `npm test` leaves them to the whole. */
const LONG = [
  ...['access-log', 'adminjs', 'approval-tricks'],
  ...['cli', 'cli-approvals', 'cli-keys', 'cli-project', 'cli-roles', 'cli-scopes'],
  ...['data-runs-crash', 'docs', 'example', 'incident-crash', 'incident-targets', 'key-replay'],
  ...['keys-crash', 'keys-loss', 'keys-processes', 'nest-12', 'own-table-snapshots'],
  ...['query-subscribers', 'schema'],
  ...['scope-counts', 'scope-legacy-crash', 'scope-races', 'scope-restore', 'scope-rotation'],
  ...['shared-runs', 'tamper-ciphertext', 'tamper-keys', 'tamper-own-tables', 'tamper-runs'],
  ...['forged-keys', 'scope-edited-rows', 'scope-erasure-snapshots', 'scope-kms-failures'],
];

/** Those of them about commands, processes and edited rows: one major will do in the whole, too. */
const LONG_ONCE = [
  ...['approval-tricks', 'cli-approvals', 'cli-keys', 'cli-project', 'cli-scopes'],
  ...['incident-crash', 'incident-targets', 'keys-crash', 'keys-loss', 'keys-processes'],
  ...['scope-legacy-crash', 'tamper-own-tables', 'tamper-runs'],
];

/** Suites that `npm test` tries with one major alone: they try each database, and little of TypeORM. */
const LITTLE_OF_TYPEORM = ['evidence-report', 'incident', 'nest-clinic', 'signing'];

/** What `npm test` tries in JavaScript alone. */
const OFTEN_THE_SAME = [
  '<rootDir>/test/property/**/*.test.ts',
  '<rootDir>/test/unit/{crypto,field,keys}/**/*.test.ts',
];

/** Suites of other folders that take more time than `npm test` has. */
const LONG_ELSEWHERE = {
  core: [...filesOf(['public-api'], 'architecture'), ...filesOf(['load'], 'unit/kms/pkcs11')],
  package: filesOf(['bundle', 'install', 'native'], 'package'),
};

function filesOf(names: readonly string[], folder = 'integration'): string[] {
  return names.map((name) => `<rootDir>/test/${folder}/${name}.test.ts`);
}

/** Suites that try each database: what they are about is TypeORM. For others one of its majors will do in `npm test`. */
function isOfEachDatabase(suite: string): boolean {
  const file = join(__dirname, 'test/integration', `${suite}.test.ts`);
  return readFileSync(file, 'utf8').includes('describeEachDatabase(');
}

/** Returns what the project of TypeORM 0.3 leaves out. */
function leftToTheOther(): string[] {
  if (isEachMajor) return [];
  if (isWholeMatrix) return filesOf(LONG_ONCE);
  const suites = readdirSync(join(__dirname, 'test/integration')).map((file) =>
    file.replace('.test.ts', ''),
  );
  const isLeft = (suite: string): boolean =>
    [...LONG, ...LITTLE_OF_TYPEORM].includes(suite) || !isOfEachDatabase(suite);
  return filesOf(suites.filter(isLeft));
}

const config: Config = {
  testTimeout: 30_000,
  // Many tests wait for child processes: leaving a core free, as Jest does, would leave it idle.
  maxWorkers: '100%',
  // What suites leave behind in a worker makes its garbage collection slower and slower.
  workerIdleMemoryLimit: '1GB',
  projects: [
    {
      ...common,
      displayName: 'core',
      testMatch: ['<rootDir>/test/{unit,vectors,property,contract,architecture}/**/*.test.ts'],
      testPathIgnorePatterns: [
        ...typeormFolders.map((folder) => `<rootDir>/test/unit/${folder}/`),
        ...(isWholeMatrix ? [] : LONG_ELSEWHERE.core),
      ],
      setupFiles: ['<rootDir>/test/support/javascript-backend.ts'],
    },
    {
      ...common,
      displayName: 'native',
      testMatch: [
        '<rootDir>/test/{native,vectors}/**/*.test.ts',
        ...(isWholeMatrix ? OFTEN_THE_SAME : []),
      ],
      moduleNameMapper: { '^typeorm-field-encryption-native$': '<rootDir>/native/index.cjs' },
      setupFiles: ['<rootDir>/test/support/native-backend.ts'],
      globalSetup: '<rootDir>/test/support/native-setup.ts',
    },
    {
      ...withTypeorm,
      displayName: 'typeorm-1',
      testPathIgnorePatterns: isWholeMatrix ? [] : filesOf(LONG),
    },
    {
      ...withTypeorm,
      displayName: 'typeorm-0.3',
      testPathIgnorePatterns: leftToTheOther(),
      moduleNameMapper: {
        ...moduleNameMapper,
        '^typeorm$': 'typeorm-0.3',
        '^typeorm/(.*)$': 'typeorm-0.3/$1',
      },
    },
    {
      ...common,
      displayName: 'package',
      testMatch: ['<rootDir>/test/package/**/*.test.ts'],
      testPathIgnorePatterns: isWholeMatrix ? [] : LONG_ELSEWHERE.package,
      globalSetup: '<rootDir>/test/support/package-setup.ts',
      globalTeardown: '<rootDir>/test/support/package-teardown.ts',
    },
  ],
};

export default config;
