import { KeyNotFoundError, OwnBranchNotFoundError } from '../../errors';
import { MISSING } from '../audit/audit-report';
import type { KeyAudit } from '../audit/key-audit';
import { nameTitle } from '../record/key-record';
import type { KeyPurpose, KeyRecord } from '../record/key-record';
import { isVersionOf } from '../record/key-versions';
import { isOwnBranchName } from '../record/scope';
import type { KeyStore } from '../store/key-store';
import type { KeyWrapper } from '../wrapping/key-wrapper';

/** The places that know whether a name ever had a key. */
export interface FirstKeyParts<C> {
  readonly store: KeyStore<C>;
  readonly wrapper: KeyWrapper;
  /** Undefined where nothing is recorded. */
  readonly audit: KeyAudit<C> | undefined;
}

/**
 * Refuses to create the first version of a key that existed before: values under that key could not be
 * read with a new one, which would stand in the way when the right one is restored. Called only where a
 * first version would be created.
 *
 * @throws {@link KeyNotFoundError} where stored values, the audit log or the anchor know of a key that
 * the table does not have; what unwrapping throws where its row has another name now
 */
export async function requireNeverMade<C>(
  parts: FirstKeyParts<C>,
  purpose: KeyPurpose,
  name: string,
  connection?: C,
): Promise<void> {
  const lost = await lostKey(parts, purpose, name, connection);
  if (lost === undefined) return;
  // Another process may have made the key since it was looked for, and used it.
  const records = await parts.store.list(connection);
  if (!records.some(isVersionOf(purpose, name))) throw lost;
}

async function lostKey<C>(
  { store, wrapper, audit }: FirstKeyParts<C>,
  purpose: KeyPurpose,
  name: string,
  connection?: C,
): Promise<KeyNotFoundError | undefined> {
  const ids = purpose === 'data' ? await store.keysOfStoredValues(name, connection) : [];
  const found = ids.length === 0 ? [] : await store.findByIds(ids, connection);
  const missing = ids.find((id) => !found.some((record) => record.id === id));
  if (missing !== undefined) return keyLost(purpose, name, missing, 'values are stored under it');

  const entry = await audit?.lastOfKey(purpose, name, connection);
  if (entry !== undefined && entry.keyId !== null && entry.keyState !== MISSING) {
    return keyLost(purpose, name, entry.keyId, `the audit log knows it as "${name}"`);
  }
  const anchored = await missingFromAnchor(audit, connection);
  if (anchored !== undefined) {
    return keyLost(purpose, name, anchored, 'the anchor of the key table knows it');
  }
  for (const record of found) await requireOtherName(wrapper, record);
  return undefined;
}

async function missingFromAnchor<C>(
  audit: KeyAudit<C> | undefined,
  connection?: C,
): Promise<string | undefined> {
  const older = (await audit?.anchor?.compare(connection)) ?? [];
  return older.find(({ found }) => found === null)?.keyId;
}

/** A column may have named another key before. A row that was renamed does not unwrap. */
async function requireOtherName(wrapper: KeyWrapper, record: KeyRecord): Promise<void> {
  if (record.state !== 'destroyed') await wrapper.unwrap(record);
}

function keyLost(
  purpose: KeyPurpose,
  name: string,
  keyId: string,
  evidence: string,
): KeyNotFoundError {
  const gone =
    `There is no ${nameTitle(purpose, name)} in the key table, but there was one: ${evidence}, and key ${keyId} is ` +
    'missing or was renamed. No new one is made in its place. Restore its row from a backup of the database';
  const giveUp =
    'or, if nothing that is stored needs it, give it up with `field-encryption keys accept-epoch`.';
  if (isOwnBranchName(name)) {
    return new OwnBranchNotFoundError(
      `${gone}, since no backup of keys holds the branch of a scope with a KMS of its own; ${giveUp}`,
      { keyId },
    );
  }
  return new KeyNotFoundError(
    `${gone}, or the keys from a backup of theirs (\`field-encryption keys restore <file>\`); ${giveUp}`,
    { keyId },
  );
}
