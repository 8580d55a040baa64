import type { QueryRunner } from 'typeorm';
import { FieldEncryptionError } from '../errors';
import type { Installation } from '../typeorm/installation';
import { databaseCode } from '../typeorm/transient-conflict';
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

/** Messages of drivers may hold statements and settings: of them, the code is told and no more. */
export function describeFailure(error: unknown): string {
  if (error instanceof FieldEncryptionError) return error.message;
  if (error instanceof NoAnswerError) return `${error.message}.`;
  const code = databaseCode(error);
  return code === '' ? 'an unexpected error.' : `the database answered ${code}.`;
}

/** Rejects where an answer takes too long, so that nothing hangs that looks for what hangs. */
export async function within<T>(ms: number, answer: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      reject(new NoAnswerError(ms));
    }, ms);
  });
  try {
    return await Promise.race([answer, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** {@link within} has waited in vain. */
export class NoAnswerError extends Error {
  constructor(ms: number) {
    super(`no answer within ${String(ms / 1000)} s`);
  }
}
