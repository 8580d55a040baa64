import { planExpand } from '../../schema/expand';
import { CommandError } from '../command-error';
import { writePlan } from '../migration-result';
import type { SchemaOptions } from '../migration-result';
import type { Session } from '../session';

/** Writes the migration that makes columns hold ciphertext beside the cleartext that is there. */
export async function schemaExpand(
  { installation }: Session,
  path: string,
  { concurrently, ...options }: SchemaOptions & { readonly concurrently: boolean },
): ReturnType<typeof writePlan> {
  if (concurrently && installation.dataSource.options.type !== 'postgres') {
    throw new CommandError(
      'ERR_USAGE',
      'Only PostgreSQL builds indexes concurrently.',
      'Leave --concurrently out.',
    );
  }
  return writePlan(await planExpand(installation, { concurrently }), path, options);
}
