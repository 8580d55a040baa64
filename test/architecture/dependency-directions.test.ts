import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

const root = join(__dirname, '..', '..');

/** A file that breaks a rule of .dependency-cruiser.cjs, and the rule. */
interface Violation {
  file: string;
  imports: string;
  rule: string;
}

const violations: Violation[] = [
  { file: 'src/field/planted.ts', imports: '../typeorm/thing', rule: 'field-imports-downwards' },
  { file: 'src/import/planted.ts', imports: '../field/thing', rule: 'import-imports-downwards' },
  { file: 'src/keys/planted.ts', imports: '../field/thing', rule: 'keys-imports-downwards' },
  { file: 'src/keys/provider.ts', imports: '../kms/thing', rule: 'keys-imports-downwards' },
  { file: 'src/crypto/planted.ts', imports: '../format/thing', rule: 'crypto-imports-downwards' },
  { file: 'src/cli/planted.ts', imports: '../index', rule: 'cli-imports-downwards' },
  { file: 'src/doctor/planted.ts', imports: '../field/thing', rule: 'doctor-imports-downwards' },
  { file: 'src/field/key.ts', imports: '../keys/thing', rule: 'field-imports-downwards' },
  {
    file: 'src/keys/record/planted.ts',
    imports: '../lifecycle/thing',
    rule: 'keys/record-imports-downwards',
  },
  {
    file: 'src/typeorm/query/refusal/planted.ts',
    imports: '../lookup/thing',
    rule: 'typeorm/query/refusal-imports-downwards',
  },
  {
    file: 'src/typeorm/query/asks.ts',
    imports: '../dialect/postgres/thing',
    rule: 'databases-behind-their-choice',
  },
  {
    file: 'src/typeorm/dialect/postgres/planted.ts',
    imports: '../sqlite/thing',
    rule: 'databases-apart',
  },
  { file: 'src/errors.ts', imports: './crypto/thing', rule: 'errors-import-nothing' },
  { file: 'src/keys/orm.ts', imports: 'typeorm', rule: 'typeorm-behind-its-folder' },
  { file: 'src/field/reads.ts', imports: 'node:fs/promises', rule: 'pure-folders-do-no-io' },
  { file: 'src/crypto/calls.ts', imports: 'https', rule: 'pure-folders-do-no-io' },
  { file: 'src/kms/cycle.ts', imports: './thing', rule: 'no-cycles' },
];

/** The other half of the cycle, which is reported once. */
const cycle = { file: 'src/kms/thing.ts', imports: './cycle' };

const allowed = [
  { file: 'src/index.ts', imports: './typeorm/thing' },
  { file: 'src/typeorm/thing.ts', imports: 'typeorm' },
  { file: 'src/typeorm/dialect/dialect-of.ts', imports: './sqlite/thing' },
  { file: 'src/schema/postgres/thing.ts', imports: '../../typeorm/dialect/postgres/thing' },
  { file: 'src/typeorm/dialect/postgres/thing.ts', imports: '../thing' },
  { file: 'src/typeorm/dialect/sqlite/thing.ts', imports: '../thing' },
  { file: 'src/typeorm/dialect/thing.ts', imports: 'typeorm' },
  { file: 'src/doctor/thing.ts', imports: '../keys/thing' },
  { file: 'src/typeorm/query/lookup/thing.ts', imports: 'typeorm' },
  { file: 'src/typeorm/fields.ts', imports: '../field/thing' },
  { file: 'src/typeorm/formats.ts', imports: '../import/previous-format' },
  { file: 'src/import/previous-format.ts', imports: '../kms/kms-provider' },
  { file: 'src/field/thing.ts', imports: '../keys/key-source' },
  { file: 'src/keys/key-source.ts', imports: '../async/thing' },
  { file: 'src/async/thing.ts', imports: 'node:timers' },
  { file: 'src/keys/lifecycle/thing.ts', imports: '../record/thing' },
  { file: 'src/keys/record/thing.ts', imports: '../../kms/kms-provider' },
  { file: 'src/keys/thing.ts', imports: '../kms/kms-provider' },
  { file: 'src/kms/kms-provider.ts', imports: 'node:fs' },
  { file: 'src/format/thing.ts', imports: '../encoding/thing' },
  { file: 'src/crypto/thing.ts', imports: 'node:crypto' },
  { file: 'src/encoding/thing.ts', imports: 'node:util' },
];

/** Every `rule file` that dependency-cruiser finds broken in a tree of these files. */
function check(files: { file: string; imports: string }[]): string[] {
  const folder = mkdtempSync(join(tmpdir(), 'field-encryption-architecture-'));
  try {
    writeFileSync(join(folder, 'tsconfig.json'), '{}');
    writeFileSync(join(folder, 'package.json'), '{ "peerDependencies": { "typeorm": "*" } }');
    symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
    for (const { file, imports } of files) {
      mkdirSync(dirname(join(folder, file)), { recursive: true });
      writeFileSync(join(folder, file), `import type * as imported from '${imports}';\n`);
    }
    return cruise(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function cruise(folder: string): string[] {
  const command = join(root, 'node_modules/dependency-cruiser/bin/dependency-cruise.mjs');
  const config = join(root, '.dependency-cruiser.cjs');
  const { stdout, stderr } = spawnSync(
    process.execPath,
    [command, 'src', '--config', config, '--output-type', 'json'],
    { cwd: folder, encoding: 'utf8' },
  );
  if (stdout === '') {
    throw new Error(`dependency-cruiser failed: ${stderr}`);
  }
  const { summary } = JSON.parse(stdout) as {
    summary: { violations: { from: string; rule: { name: string } }[] };
  };
  return summary.violations.map(({ from, rule }) => `${rule.name} ${from}`).sort();
}

describe('The directions in which folders may import each other', () => {
  it('are held: each planted violation is caught, by its rule and no other', () => {
    const expected = violations.map(({ file, rule }) => `${rule} ${file}`).sort();

    expect(check([...allowed, cycle, ...violations])).toEqual(expected);
  });

  it('let through what goes downwards', () => {
    expect(check(allowed)).toEqual([]);
  });
});
