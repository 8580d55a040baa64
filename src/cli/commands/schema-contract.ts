import { planContract } from '../../schema/contract';
import { writePlan } from '../migration-result';
import type { SchemaOptions } from '../migration-result';
import type { Session } from '../session';

/** Writes the migration that keeps cleartext out of columns that have been encrypted. */
export async function schemaContract(
  { installation }: Session,
  path: string,
  options: SchemaOptions,
): ReturnType<typeof writePlan> {
  return writePlan(await planContract(installation), path, options);
}
