import type { QueryRunner } from 'typeorm';

import { withConnection } from '../connection/lent-connection';
import { checkNames } from '../metadata/check-names';
import { otherCiphertextCheck } from '../metadata/ciphertext-check';
import type { EncryptedColumn } from '../metadata/encrypted-column';

import type { Installation } from './installation';

/** What the database has in the way of CHECK constraints against cleartext in a column. */
export interface StoredCheck {
  readonly encrypted: EncryptedColumn;
  /** Whether the wanted constraint is missing. */
  readonly isMissing: boolean;
  /** Name of the constraint of before the property got, or lost, `bindTo` or keys of scopes. */
  readonly outdated: string | undefined;
}

/** Compares the CHECK constraints of the encrypted columns of existing tables with those that are wanted. */
export async function storedChecks(
  { dataSource, columns: { byEntity } }: Installation,
  connection?: QueryRunner,
): Promise<StoredCheck[]> {
  return withConnection(dataSource, connection, async (runner) => {
    const stored: StoredCheck[] = [];
    for (const [metadata, { columns }] of byEntity) {
      if (metadata.tableType === 'entity-child') continue;
      const names = await checkNames(runner, metadata);
      if (names === undefined) continue;
      for (const encrypted of columns) {
        const { check, column, policy } = encrypted;
        const { name } = otherCiphertextCheck(column, policy, dataSource);
        stored.push({
          encrypted,
          isMissing: check !== undefined && !names.has(check.constraint.name),
          outdated: names.has(name) ? name : undefined,
        });
      }
    }
    return stored;
  });
}

/**
 * Returns the encrypted columns whose existing table lacks the CHECK constraint against cleartext: it was
 * created before the constraint was the default, or not from the entity.
 */
export async function columnsWithoutCheck(installation: Installation): Promise<EncryptedColumn[]> {
  const stored = await storedChecks(installation);
  return stored.filter(({ isMissing }) => isMissing).map(({ encrypted }) => encrypted);
}

/**
 * Aligns the CHECK constraints in the metadata with those in the database before a schema builder compares
 * the two. It would add them to existing tables, which SQLite does by a rebuild and PostgreSQL under a
 * lock; those get them by `schema contract`, or if `check: true` asks for it.
 */
export async function alignChecks(installation: Installation): Promise<void> {
  const lacking = new Set(await columnsWithoutCheck(installation));
  for (const encrypted of installation.columns.byColumn.values()) {
    const { check } = encrypted;
    if (check === undefined) continue;
    const { checks } = check.constraint.entityMetadata;
    const at = checks.indexOf(check.constraint);
    const isWanted = check.isDeclared || !lacking.has(encrypted);
    if (isWanted && at === -1) checks.push(check.constraint);
    if (!isWanted && at !== -1) checks.splice(at, 1);
  }
}
