import type { Command } from 'commander';

import { planContract } from '../../schema/contract';
import { planExpand } from '../../schema/expand';
import { schemaChangesOf } from '../../schema/schema-changes-of';
import type { Session } from '../load/session';
import { CommandError } from '../terminal/command-error';

import { DRY_RUN } from './common-options';
import type { ChooseWork } from './common-options';
import { writePlan } from './migration-files';
import type { SchemaOptions } from './migration-files';

/** Writes the migration that keeps cleartext out of encrypted columns. */
export async function schemaContract(
  { installation }: Session,
  path: string,
  options: SchemaOptions,
): ReturnType<typeof writePlan> {
  return writePlan(await planContract(installation), path, options);
}

/** Writes the migration after which columns can hold ciphertext beside their cleartext. */
export async function schemaExpand(
  { installation }: Session,
  path: string,
  { concurrently, ...options }: SchemaOptions & { readonly concurrently: boolean },
): ReturnType<typeof writePlan> {
  const { buildConcurrently } = schemaChangesOf(installation.dataSource);
  if (concurrently && buildConcurrently === undefined) {
    throw new CommandError(
      'ERR_USAGE',
      'Only PostgreSQL builds indexes concurrently.',
      'Leave --concurrently out.',
    );
  }
  return writePlan(await planExpand(installation, { concurrently }), path, options);
}

/** Adds the commands on migrations of columns that become encrypted. */
export function addSchema(program: Command, choose: ChooseWork): void {
  const schema = program
    .command('schema')
    .description('migrations of columns that become encrypted, as TypeORM would generate them');
  addStyle(schema.command('expand'))
    .description('generate the migration that makes columns hold ciphertext beside cleartext')
    .option('--concurrently', 'PostgreSQL: build indexes without blocking writes')
    .action((path: string, options: Partial<SchemaOptions> & { concurrently?: boolean }) => {
      const { concurrently = false } = options;
      choose((session) => schemaExpand(session, path, { ...withDefaults(options), concurrently }));
    });
  addStyle(schema.command('contract'))
    .description('generate the migration that keeps cleartext out of encrypted columns')
    .action((path: string, options: Partial<SchemaOptions>) => {
      choose((session) => schemaContract(session, path, withDefaults(options)));
    });
}

/** The options of `typeorm migration:generate`. */
function addStyle(command: Command): Command {
  return command
    .argument('<path>', 'folder and name of the migration, such as src/migrations/EncryptPatient')
    .option('-p, --pretty', 'format the SQL')
    .option('-o, --output-js', 'write JavaScript instead of TypeScript')
    .option('--esm', 'write the JavaScript as an ES module')
    .option(...DRY_RUN);
}

function withDefaults({
  pretty = false,
  outputJs = false,
  esm = false,
  dryRun = false,
}: Partial<SchemaOptions>): SchemaOptions {
  return { pretty, outputJs, esm, dryRun };
}
