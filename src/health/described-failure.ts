import { FieldEncryptionError } from '../errors';
import { databaseCode } from '../typeorm/transient-conflict';
import { NoAnswerError } from './in-time';

/** Messages of drivers may hold statements and settings: of them, the code is told and no more. */
export function describeFailure(error: unknown): string {
  if (error instanceof FieldEncryptionError) return error.message;
  if (error instanceof NoAnswerError) return `${error.message}.`;
  const code = databaseCode(error);
  return code === '' ? 'an unexpected error.' : `the database answered ${code}.`;
}
