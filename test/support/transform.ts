import type { Config } from 'jest';

/** As tsconfig.json has it, which `npm run typecheck` checks: here each file is only transpiled. */
const typescript = {
  swcrc: false,
  jsc: {
    target: 'es2022',
    parser: { syntax: 'typescript', decorators: true },
    transform: { legacyDecorator: true, decoratorMetadata: true },
  },
};

/** What Jest has to rewrite before it can require it. */
export const transforms: Pick<Config, 'transform' | 'transformIgnorePatterns'> = {
  transform: {
    '\\.ts$': ['@swc/jest', typescript],
    // Jest cannot require ES modules as Node.js does, so the one dependency that is nothing else becomes CommonJS.
    '/node_modules/@noble/.+\\.js$': ['@swc/jest', { swcrc: false, jsc: { target: 'es2022' } }],
  },
  transformIgnorePatterns: ['/node_modules/(?!@noble/)'],
};
