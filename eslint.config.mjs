import tsdoc from 'eslint-plugin-tsdoc';
import tseslint from 'typescript-eslint';

export default tseslint.config(
  { ignores: ['dist/', 'coverage/', '**/.build/', '**/*.cjs', 'scripts/', 'eslint.config.mjs'] },
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.strictTypeChecked],
    plugins: { tsdoc },
    languageOptions: {
      parserOptions: { project: './tsconfig.json', tsconfigRootDir: import.meta.dirname },
    },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      eqeqeq: 'error',
      'no-console': 'error',
      'tsdoc/syntax': 'error',
      '@typescript-eslint/consistent-type-imports': [
        'error',
        { fixStyle: 'separate-type-imports' },
      ],
      // Deprecated by TypeORM 1, and the only name that 0.3 knows.
      '@typescript-eslint/no-deprecated': [
        'error',
        { allow: [{ from: 'package', package: 'typeorm', name: 'connection' }] },
      ],
      // TypeORM types its option objects as classes and documents object literals for them.
      '@typescript-eslint/no-unsafe-class-instance-assignment': 'off',
      // ES modules that are loaded when they are needed, and that bundlers still have to see.
      '@typescript-eslint/no-require-imports': ['error', { allow: ['^@noble/ciphers/'] }],
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true },
      ],
    },
  },
  {
    // A file is one idea, and a function a list of steps.
    files: ['src/**'],
    rules: { 'max-lines': ['error', 250], 'max-lines-per-function': ['error', 40] },
  },
  {
    files: ['src/cli/**', 'examples/**', 'bench/**'],
    rules: { 'no-console': 'off' },
  },
  {
    // Decorated classes: TypeORM fills them in, and Nest-like modules have no members at all.
    files: ['src/**', 'examples/**', 'test/**', 'bench/**'],
    rules: { '@typescript-eslint/no-extraneous-class': ['error', { allowWithDecorator: true }] },
  },
  {
    // Tests hand over what the types forbid, look behind them, and use mocks.
    files: ['test/**', 'bench/**', 'examples/**'],
    rules: {
      '@typescript-eslint/no-confusing-void-expression': 'off',
      '@typescript-eslint/no-empty-function': 'off',
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/no-require-imports': 'off',
      '@typescript-eslint/no-unsafe-argument': 'off',
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-unsafe-call': 'off',
      '@typescript-eslint/no-unsafe-member-access': 'off',
      '@typescript-eslint/no-unsafe-return': 'off',
      '@typescript-eslint/require-await': 'off',
      '@typescript-eslint/restrict-plus-operands': ['error', { allowNumberAndString: true }],
      '@typescript-eslint/unbound-method': 'off',
    },
  },
);
