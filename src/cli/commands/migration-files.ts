import { mkdir, writeFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { MigrationGenerateCommand } from 'typeorm/commands/MigrationGenerateCommand.js';

import type {
  Guard,
  MigrationDraft,
  MigrationPlan,
  MigrationStep,
} from '../../schema/migration-draft';
import { EXIT_CODES } from '../terminal/command-error';
import type { ExitCode } from '../terminal/command-error';
import type { CommandResult } from '../terminal/output';

/** The form of a migration file; the options of `typeorm migration:generate`. */
export interface MigrationStyle {
  /** JavaScript instead of TypeScript. */
  readonly outputJs: boolean;
  /** JavaScript as an ES module. */
  readonly esm: boolean;
  /** Formats the SQL. */
  readonly pretty: boolean;
}

/** A migration as a source file. */
export interface MigrationFile {
  readonly path: string;
  readonly content: string;
}

/**
 * Renders drafts as `typeorm migration:generate` would: `path` is a folder and a name, which gets the time
 * as its prefix. Each draft of a command is a millisecond later than the one before.
 */
function migrationFiles(
  drafts: readonly MigrationDraft[],
  path: string,
  timestamp: number,
  style: MigrationStyle,
): MigrationFile[] {
  const extension = style.outputJs ? 'js' : 'ts';
  return drafts.map((draft, i) => {
    const name = `${basename(path)}${draft.suffix}`;
    const time = timestamp + i;
    return {
      path: join(resolve(dirname(path)), `${String(time)}-${name}.${extension}`),
      content: Template.render(draft, name, time, style),
    };
  });
}

/** Creates the files and their folder; an existing file is an error. */
async function writeMigrationFiles(files: readonly MigrationFile[]): Promise<void> {
  for (const { path, content } of files) {
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, content, { flag: 'wx' });
  }
}

/** TypeORM's own template, which only a subclass can use. */
class Template extends MigrationGenerateCommand {
  static render(
    draft: MigrationDraft,
    name: string,
    timestamp: number,
    { outputJs, esm, pretty }: MigrationStyle,
  ): string {
    const literal = (sql: string): string =>
      templateLiteral(pretty ? this.prettifyQuery(sql) : sql);
    // TypeORM types the rows as any, which linters take amiss.
    const rows = (query: string): string =>
      outputJs
        ? `(await queryRunner.query(${literal(query)}))`
        : `(await queryRunner.query(${literal(query)}) as unknown[])`;
    const sources = { literal, rows };
    const up = [
      ...draft.upGuards.map((guard) => guardSource(guard, sources)),
      ...draft.up.map((step) => stepSource(step, sources)),
    ];
    const down = [
      ...draft.downGuards.map((guard) => guardSource(guard, sources)),
      ...draft.down.map((step) => stepSource(step, sources)),
    ];
    const source = outputJs
      ? this.getJavascriptTemplate(name, timestamp, up, down, esm)
      : this.getTemplate(name, timestamp, up, down);
    const whole = down.length === 0 ? withoutDown(source) : source;
    return draft.withoutTransaction
      ? whole.replace(/^( *)name = .*$/m, '$&\n$1transaction = false')
      : whole;
  }
}

/** Writes an empty `down` as linters want it: without an unused parameter, and awaiting nothing. */
function withoutDown(source: string): string {
  return source.replace(
    /async down\(.*\)(.*) \{\s*\}/,
    `down()$1 {
        // Nothing to undo.
        return Promise.resolve();
    }`,
  );
}

/** How SQL is written as source code. */
interface SqlSources {
  readonly literal: (sql: string) => string;
  /** The rows that a query returns. */
  readonly rows: (query: string) => string;
}

function guardSource({ query, message }: Guard, { rows }: SqlSources): string {
  return [
    `        if (${rows(query)}.length > 0) {`,
    `            throw new Error(${templateLiteral(message)});`,
    '        }',
  ].join('\n');
}

function stepSource({ sql, when }: MigrationStep, { literal, rows }: SqlSources): string {
  const statement = `await queryRunner.query(${literal(sql)});`;
  if (when === undefined) return `        ${statement}`;
  return [`        if (${rows(when)}.length > 0) {`, `            ${statement}`, '        }'].join(
    '\n',
  );
}

/** Quotes a text as source code, whatever the names and defaults of the database contain. */
function templateLiteral(text: string): string {
  return `\`${text.replaceAll('\\', '\\\\').replaceAll('`', '\\`').replaceAll('${', '\\${')}\``;
}

/** Options of every command that writes migrations. */
export interface SchemaOptions extends MigrationStyle {
  readonly dryRun: boolean;
}

/** The usual reason is an entity that was changed and not compiled: the second line says so. */
const NOTHING_TO_DO = [
  'There is nothing to do: no migration was written.',
  'If an entity has changed, compile it first: a data source in JavaScript loads what was compiled before.',
];

/** Writes the planned migrations, unless in a dry run. */
export async function writePlan(
  plan: MigrationPlan,
  path: string,
  options: SchemaOptions,
): Promise<CommandResult & { readonly exitCode: ExitCode }> {
  const files = migrationFiles(plan.drafts, path, Date.now(), options);
  if (!options.dryRun) await writeMigrationFiles(files);
  return {
    document: { dryRun: options.dryRun, files, notes: plan.notes },
    text: [
      ...plan.notes,
      ...files.map((file) => describeFile(file, options)),
      ...(files.length === 0 ? NOTHING_TO_DO : []),
      ...(files.length > 1
        ? ['Run them with --transaction each: the second is to have no part in the first one.']
        : []),
    ].join('\n'),
    // As migration:generate does.
    exitCode: files.length === 0 ? EXIT_CODES.failed : EXIT_CODES.done,
  };
}

function describeFile({ path, content }: MigrationFile, { dryRun }: SchemaOptions): string {
  return dryRun
    ? `Would write ${path}:\n\n${content}`
    : `Wrote ${path}. Read it before you run it.`;
}
