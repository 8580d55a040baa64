import type { QueryRunner } from 'typeorm';

import { FieldEncryptionError, KeyNotFoundError } from '../errors';
import { INDEX_ROOT_NAME } from '../keys/cache/index-roots';
import { nameTitle } from '../keys/record/key-record';
import type { KeyPurpose, KeyRecord } from '../keys/record/key-record';
import { isVersionOf } from '../keys/record/key-versions';
import type { Installation } from '../typeorm/installation/installation';
import { hasStoredTokens } from '../typeorm/installation/stored-samples';

/** A key that entities need and of which the key table has no version. */
export interface AbsentKey {
  readonly purpose: KeyPurpose;
  readonly name: string;
  /** As it is called in a message. */
  readonly title: string;
  /** What shows that there was one, in whose place none is made; `undefined` for one that never was. */
  readonly lost: string | undefined;
}

/** What to do where one was lost. */
export const RESTORE_KEYS =
  'Restore the data_keys table from a backup of the database, or the keys from a backup of theirs: ' +
  'field-encryption keys restore';

/** @param records - the whole key table; `undefined` where there is none. */
export async function absentKeys(
  installation: Installation,
  records: readonly KeyRecord[] | undefined,
  runner: QueryRunner,
): Promise<AbsentKey[]> {
  const { keyNames, indexed } = installation.columns;
  const needed: readonly (readonly [KeyPurpose, string])[] = [
    ...keyNames.map((name) => ['data', name] as const),
    ...(indexed ? [['index', INDEX_ROOT_NAME] as const] : []),
  ];
  const absent: AbsentKey[] = [];
  for (const [purpose, name] of needed) {
    if (records?.some(isVersionOf(purpose, name)) === true) continue;
    const lost =
      records === undefined
        ? await inRows(installation, purpose, name, runner)
        : await known(installation, purpose, name, runner);
    absent.push({ purpose, name, title: nameTitle(purpose, name), lost });
  }
  return absent;
}

/** What the rows of the entities show. */
async function inRows(
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

/** What is known beside the key table, as what makes a first key goes by it. */
async function known(
  installation: Installation,
  purpose: KeyPurpose,
  name: string,
  runner: QueryRunner,
): Promise<string | undefined> {
  try {
    await installation.keys.operations.requireNeverMade(purpose, name, runner);
  } catch (error) {
    if (error instanceof KeyNotFoundError) return 'rows, the audit log or the anchor know it';
    // The KMS or the anchor is away, which is found by itself.
    if (!(error instanceof FieldEncryptionError)) throw error;
  }
  return purpose === 'index' ? inRows(installation, purpose, name, runner) : undefined;
}
