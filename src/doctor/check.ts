import type { QueryRunner } from 'typeorm';
import { describeFailure } from '../health/described-failure';
import type { Installation } from '../typeorm/installation';
import type { Finding } from './finding';
import { finding } from './finding';

/** Looks at the process and its settings. Changes nothing. */
export type Check = (
  installation: Installation,
) => readonly Finding[] | Promise<readonly Finding[]>;

/** Looks at the database, on a connection that it may only read with. */
export type DatabaseCheck = (
  installation: Installation,
  runner: QueryRunner,
) => Promise<readonly Finding[]>;

/** A check that could not be made is a finding, too. */
export async function attempted(
  name: string,
  check: () => readonly Finding[] | Promise<readonly Finding[]>,
): Promise<readonly Finding[]> {
  try {
    return await check();
  } catch (error) {
    return [
      finding(
        'CHECK_FAILED',
        `The check of ${name} could not be made: ${describeFailure(error)}`,
        'Give the database role the right to read the tables and the catalog, and run it again.',
      ),
    ];
  }
}
