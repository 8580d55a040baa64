import type { MigrationPlan } from '../schema/migration-draft';
import { EXIT_CODES } from './exit-code';
import type { ExitCode } from './exit-code';
import { migrationFiles, writeMigrationFiles } from './migration-file';
import type { MigrationFile, MigrationStyle } from './migration-file';
import type { CommandResult } from './output';

/** Options of every command that writes migrations. */
export interface SchemaOptions extends MigrationStyle {
  readonly dryRun: boolean;
}

/** Writes what was planned, unless in a dry run, and says so. */
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
      ...(files.length === 0 ? ['There is nothing to do: no migration was written.'] : []),
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
