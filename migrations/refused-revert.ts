import type { QueryRunner } from 'typeorm';

/** Refuses to revert a migration of the library's own, and says how to get at those that ran before it. */
export function refusedRevert({ connection }: QueryRunner, reason: string): Error {
  const records = connection.options.migrationsTableName ?? 'migrations';
  return new Error(
    `${reason} To revert a migration of yours that ran before this one, first delete the records of ` +
      `fieldEncryptionMigrations from ${records}: the tables and keys stay, and the next migration:run ` +
      'takes them as they are. See "The way back" in docs/encrypting-an-existing-column.md.',
  );
}
