import { readFileSync, writeFileSync } from 'node:fs';
import type { DataSource, MigrationInterface } from 'typeorm';
import { ModuleKind, ScriptTarget, transpileModule } from 'typescript';
import { fieldEncryption } from '../../src';
import type { Session } from '../../src/cli/load/session';
import { installationOf } from '../../src/typeorm/installation/installations';

export type MigrationClass = new () => MigrationInterface;

/** Returns what a command of the schema works with. */
export function sessionOf(dataSource: DataSource): Session {
  return {
    dataSource,
    dataSourcePath: 'data-source.js',
    installation: installationOf(dataSource),
    fieldEncryption: fieldEncryption(dataSource),
    output: {} as Session['output'],
  };
}

/** Returns the files that a command has written. */
export function writtenFiles({ document }: { document: object }): string[] {
  return (document as { files: { path: string }[] }).files.map(({ path }) => path);
}

/** Compiles a migration in TypeScript. */
export function compiledMigration(path: string): MigrationClass {
  const { outputText } = transpileModule(readFileSync(path, 'utf8'), {
    compilerOptions: { target: ScriptTarget.ES2022, module: ModuleKind.CommonJS },
  });
  const compiledPath = path.replace(/ts$/, 'cjs');
  writeFileSync(compiledPath, outputText);
  const [migration] = Object.values(require(compiledPath) as Record<string, MigrationClass>);
  return migration as MigrationClass;
}
