import type { QueryRunner } from 'typeorm';

import { FieldEncryptionError, KeyNotFoundError } from '../errors';
import { INDEX_ROOT_NAME, nameTitle } from '../keys/record/key-record';
import type { KeyPurpose, KeyRecord } from '../keys/record/key-record';
import { isVersionOf } from '../keys/record/key-versions';
import type { Installation } from '../typeorm/installation/installation';
import { hasStoredTokens } from '../typeorm/installation/stored-samples';

import { KEYS_RESTORE } from './finding';

/** A key that entities need and the key table has no version of. */
export interface AbsentKey {
  readonly purpose: KeyPurpose;
  readonly name: string;
  /** Its name in messages. */
  readonly title: string;
  /** The evidence that it once existed, so that no new one is made; `undefined` if it never did. */
  readonly lost: string | undefined;
}

/** The remedy for a lost key. */
export const RESTORE_KEYS =
  'Restore the data_keys table from a backup of the database, or the keys from a backup of theirs: ' +
  `field-encryption ${KEYS_RESTORE}`;

/** The remedy for lost keys of scopes. */
export const RESTORE_SCOPE_KEYS =
  'Restore the table field_encryption_scope_keys from a backup of the database: no backup of keys has keys of scopes';

/**
 * Finds the keys that entities need and the key table does not have.
 *
 * @param records - the whole key table; `undefined` if there is none.
 */
export async function absentKeys(
  installation: Installation,
  records: readonly KeyRecord[] | undefined,
  runner: QueryRunner,
): Promise<AbsentKey[]> {
  const { keyNames, needsIndexRoot } = installation.columns;
  const needed: readonly (readonly [KeyPurpose, string])[] = [
    ...keyNames.map((name) => ['data', name] as const),
    ...(needsIndexRoot ? [['index', INDEX_ROOT_NAME] as const] : []),
  ];
  const absent: AbsentKey[] = [];
  for (const [purpose, name] of needed) {
    if (records?.some(isVersionOf(purpose, name)) === true) continue;
    const lost =
      records === undefined
        ? await evidenceInRows(installation, purpose, name, runner)
        : await evidenceElsewhere(installation, purpose, name, runner);
    absent.push({ purpose, name, title: nameTitle(purpose, name), lost });
  }
  return absent;
}

/** Looks for evidence in the rows of the entities. */
async function evidenceInRows(
  { store, columns }: Installation,
  purpose: KeyPurpose,
  name: string,
  runner: QueryRunner,
): Promise<string | undefined> {
  const isInRows =
    purpose === 'index'
      ? await hasStoredTokens(columns, runner)
      : (await store.keysOfStoredValues(name, runner)).length > 0;
  return isInRows ? 'rows were written with it' : undefined;
}

/** Looks for the evidence that keeps the library from making a first key. */
async function evidenceElsewhere(
  installation: Installation,
  purpose: KeyPurpose,
  name: string,
  runner: QueryRunner,
): Promise<string | undefined> {
  try {
    await installation.keys.operations.requireNeverMade(purpose, name, runner);
  } catch (error) {
    if (error instanceof KeyNotFoundError) return 'rows, the audit log or the anchor know it';
    // The KMS or the anchor is away, which is a finding of its own.
    if (!(error instanceof FieldEncryptionError)) throw error;
  }
  return purpose === 'index' ? evidenceInRows(installation, purpose, name, runner) : undefined;
}
