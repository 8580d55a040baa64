import type { AuditEntry } from '../audit/audit-entry';
import type { FindSeal } from '../audit/audit-verification';
import { KeyStateError } from '../errors';
import { isGivenUp } from '../keys/audit/audit-report';
import { provenEntry } from '../keys/audit/proven-entry';
import { keyInfo } from '../keys/policy/key-policy';
import type { KeyInfo } from '../keys/record/key-info';
import type { KeyRecord } from '../keys/record/key-record';
import { UNPROVEN } from '../keys/store/key-change-events';
import type { Installation } from '../typeorm/installation/installation';

/** How often a key is read again because another process may have changed it between its entry and its row. */
const ATTEMPTS = 3;

/**
 * Returns keys of which the row says what the audit log says: who can only write to the database would otherwise make a
 * key look destroyed, or like one that is not destroyed. Leaves out those that were destroyed and have no row any more.
 *
 * @throws {@link KeyStateError} for a key whose last entry is not proven, or whose row is missing or says otherwise
 */
export async function provenKeys(
  { audit, options, store }: Pick<Installation, 'audit' | 'options' | 'store'>,
  ids: readonly string[],
): Promise<KeyInfo[]> {
  const findSeal = audit.key.finder();
  for (let attempt = 1; ; attempt += 1) {
    const logged: (readonly [string, LoggedKey | undefined])[] = [];
    for (const id of ids) logged.push([id, await lastKnown(await audit.about(id), findSeal)]);
    const records = await store.findByIds(ids);
    const rows = new Map(records.map((record) => [record.id, record]));
    const doubt = logged.find(([id, known]) => !agrees(rows.get(id), known));
    if (doubt === undefined) return records.map((record) => keyInfo(record, options.keyPolicies));
    if (attempt === ATTEMPTS) throw doubtful(doubt[0]);
  }
}

/** What the log says of a key. */
interface LoggedKey {
  readonly state: string;
  /** The last entry that tells its name, purpose and KEK by a row that was proven. */
  readonly named: AuditEntry;
}

/** Returns what the last entries say of a key; undefined where their seals do not hold. */
async function lastKnown(
  entries: readonly AuditEntry[],
  findSeal: FindSeal,
): Promise<LoggedKey | undefined> {
  const told = entries.filter(({ keyState }) => keyState !== null);
  const last = await provenEntry(told, findSeal);
  const named = await provenEntry(told.filter(isAboutProvenRow), findSeal);
  return last === null || named === null ? undefined : { state: last.keyState ?? '', named };
}

/** A key is revoked, and destroyed at need, by a row that proves nothing: such an entry has what somebody wrote there. */
function isAboutProvenRow({ operation, reference }: AuditEntry): boolean {
  return operation !== 'revoke' && operation !== 'destroy' && reference !== UNPROVEN;
}

/**
 * Whether a row is as the last entry about it says. It may say that the key is compromised, since a revocation goes
 * through where it cannot be recorded; or be there though the key was destroyed, as in an older table that was put back.
 */
function agrees(row: KeyRecord | undefined, known: LoggedKey | undefined): boolean {
  if (known === undefined) return false;
  const { state, named } = known;
  if (row === undefined) return isGivenUp(state);
  const { purpose, name, kms, kek } = row;
  const isSame = purpose === named.keyPurpose && name === named.keyName;
  if (!isSame || isGivenUp(state)) return isSame;
  const isUnder = kms === named.kms && kek === named.kek;
  return isUnder && (row.state === state || row.state === 'compromised');
}

function doubtful(id: string): KeyStateError {
  return new KeyStateError(
    `incident: the row of key ${id} is missing, or is not what the last entry of the audit log about it says, so that ` +
      'nobody can tell by it what became of the key. `field-encryption audit verify` says which, and `keys list` what the ' +
      'row says. Put the row back, such as with `keys restore`; or, for a key that is older than the log, record it with ' +
      '`keys accept-epoch`. Then go on.',
    { keyId: id },
  );
}

/** The keys that the audit log tells of from its beginning. */
export interface LoggedKeys {
  readonly ids: ReadonlySet<string>;
  /** Whether the log is broken, so that there may be others. */
  readonly isBroken: boolean;
}

/** Finds keys by what any entry says of them, also of what they once were; that of the log itself is not among them. */
export async function loggedKeys(
  { audit }: Pick<Installation, 'audit'>,
  matches: (entry: AuditEntry) => boolean,
): Promise<LoggedKeys> {
  const ids = new Set<string>();
  const note = (entry: AuditEntry): void => {
    const { keyId, keyPurpose, keyState } = entry;
    if (keyId === null || keyState === null || keyPurpose === 'audit') return;
    if (matches(entry)) ids.add(keyId);
  };
  const { verification } = await audit.follow(await audit.expectation(), { note });
  return { ids, isBroken: verification.broken !== undefined || verification.entries === 0 };
}
