import { existsSync, readFileSync } from 'node:fs';
import { IsBoolean, IsInt, IsOptional, IsPositive, IsString } from 'class-validator';

import { optionProblems } from '../../typeorm/declare/option-rules';
import { CommandError } from '../terminal/command-error';

import { loadModule } from './load-module';

/**
 * Options of the command line that a project can set once, by their names in camel case: those that
 * describe its environment. What an operator decides each time, such as `--yes`, is not among them.
 */
export type Configuration = Readonly<Record<string, unknown>>;

class ConfigurationRules {
  @IsOptional() @IsString() dataSource?: unknown;
  @IsOptional() @IsBoolean() verbose?: unknown;
  @IsOptional() @IsInt() @IsPositive() batchSize?: unknown;
  @IsOptional() @IsInt() @IsPositive() maxRate?: unknown;
  @IsOptional() @IsInt() @IsPositive() maxReplicaLag?: unknown;
  @IsOptional() @IsInt() @IsPositive() workers?: unknown;
}

const FILES = ['js', 'cjs', 'mjs', 'ts'].map((extension) => `field-encryption.config.${extension}`);
const MANIFEST = 'package.json';
const MEMBER = 'field-encryption';

/**
 * Reads the configuration of the project in the current folder: `field-encryption.config.*`, and the
 * member `field-encryption` of package.json for what that leaves out.
 *
 * @throws {@link CommandError} for one that cannot be read or has other options
 */
export async function readConfiguration(): Promise<Configuration> {
  return { ...manifestConfiguration(), ...(await fileConfiguration()) };
}

function manifestConfiguration(): Configuration {
  if (!existsSync(MANIFEST)) return {};
  const { [MEMBER]: member = {} } = (manifestOf(readFileSync(MANIFEST, 'utf8')) ?? {}) as Record<
    string,
    unknown
  >;
  return checked(member, `"${MEMBER}" in ${MANIFEST}`);
}

function manifestOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new CommandError(
      'ERR_USAGE',
      `${MANIFEST} in this folder is not valid JSON, so that "${MEMBER}" in it cannot be read.`,
      'Correct it, or run the command in the folder of your project.',
      { cause },
    );
  }
}

async function fileConfiguration(): Promise<Configuration> {
  const [file, other] = FILES.filter((name) => existsSync(name));
  if (file === undefined) return {};
  if (other !== undefined) {
    throw new CommandError(
      'ERR_USAGE',
      `There are both ${file} and ${other}.`,
      'Keep one of them.',
    );
  }
  return checked(defaultExport(await loadModule(file, 'the configuration')), file);
}

/** An imported CommonJS module has its exports, or its `default`, below `default`. */
function defaultExport(module: unknown): unknown {
  const isWrapped = typeof module === 'object' && module !== null && 'default' in module;
  return isWrapped ? defaultExport(module.default) : module;
}

function checked(configuration: unknown, where: string): Configuration {
  const problem =
    typeof configuration === 'object' && configuration !== null
      ? optionProblems(ConfigurationRules, configuration)
      : 'no object';
  if (problem === undefined) return configuration as Configuration;
  throw new CommandError(
    'ERR_USAGE',
    `${where} has ${problem}.`,
    "Write it as in docs/commands.md, such as { dataSource: 'dist/data-source.js' }.",
  );
}
