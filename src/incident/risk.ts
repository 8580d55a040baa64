import type { DataKeys } from '../data-keys';
import { ConfigurationError, KeyNotFoundError, KeyStateError } from '../errors';
import { policyOf } from '../keys/policy/key-policy';
import type { KeyInfo } from '../keys/record/key-info';
import { isBranchName, isOwnBranchName } from '../keys/record/scope';
import { encryptedRows } from '../reencryption/coverage/key-uses';
import { countWhere } from '../reencryption/coverage/prefix-counts';
import { underScopeKeySql } from '../reencryption/database/prefix-sql';
import { encryptedTables } from '../reencryption/encrypted-table';
import type { EncryptedTable } from '../reencryption/encrypted-table';
import { withConnection } from '../typeorm/connection/lent-connection';
import type { Installation } from '../typeorm/installation/installation';
import type { EncryptedColumn } from '../typeorm/metadata/encrypted-column';

import type { IncidentKind } from './incident-log';
import { loggedKeys, provenKeys } from './logged-keys';

/** The rows of a column whose values somebody can read, or whose tokens somebody can make, who has a key. */
export interface RowsAtRisk {
  readonly entity: string;
  readonly property: string;
  readonly rows: number;
}

/** The parts that incidents work with. */
export interface IncidentParts {
  readonly installation: Installation;
  readonly keys: DataKeys;
}

/** The keys of an incident that is to be opened. */
export interface KeysAtRisk {
  readonly keys: readonly KeyInfo[];
  /** Whether they are all that there are, for the log is broken, and nothing tells which the KEK has wrapped. */
  readonly isEvery: boolean;
}

/**
 * Returns the keys that are compromised with a key, a branch or a KEK: of the last, also those that it wrapped before, as
 * the log tells, since its holder may have kept them. The key of the audit log is never replaced, and not among them.
 *
 * @throws {@link KeyNotFoundError} for none; {@link KeyStateError} for keys that are destroyed, or of which the log and
 * the key table tell different things; {@link ConfigurationError} for a branch without entities that have keys of scopes
 */
export async function keysAtRisk(
  { installation }: IncidentParts,
  kind: IncidentKind,
  target: string,
): Promise<KeysAtRisk> {
  const { ids, isBroken } = await idsAtRisk(installation, kind, target);
  const found = (await provenKeys(installation, [...ids])).filter(
    ({ purpose, name }) => purpose !== 'audit' && (kind !== 'branch' || name === target),
  );
  const keys = found.filter(({ state }) => state !== 'destroyed');
  if (keys.length === 0) throw found.length > 0 ? isDestroyed() : notFound(kind);
  if (!installation.hasScopes && keys.some(({ name }) => isBranchName(name))) throw noScopes();
  return { keys, isEvery: kind === 'kek' && isBroken };
}

/** Finds by rows and by the log: an edited row must not keep a key out of it. */
async function idsAtRisk(
  installation: Installation,
  kind: IncidentKind,
  target: string,
): Promise<{ readonly ids: ReadonlySet<string>; readonly isBroken: boolean }> {
  const { audit, store } = installation;
  const rows = await store.list();
  if (kind === 'key') {
    const isKnown =
      rows.some(({ id }) => id === target) ||
      (await audit.about(target)).some(({ keyState }) => keyState !== null);
    return { ids: new Set(isKnown ? [target] : []), isBroken: false };
  }
  const matches = (of: Pick<KeyInfo, 'kms' | 'kek' | 'name'>): boolean =>
    kind === 'kek' ? isKek(of, target) : of.name === target && isBranchName(target);
  const logged = await loggedKeys(installation, ({ keyName, kms, kek }) =>
    matches({ name: keyName ?? '', kms: kms ?? '', kek: kek ?? '' }),
  );
  const ids = new Set(logged.ids);
  for (const row of rows) if (logged.isBroken || matches(row)) ids.add(row.id);
  return { ids, isBroken: logged.isBroken };
}

function isDestroyed(): KeyStateError {
  return new KeyStateError('incident: the key is destroyed, and nothing can be under it any more.');
}

function notFound(kind: IncidentKind): KeyNotFoundError {
  const wanted =
    kind === 'key'
      ? 'such data key, index root or signing key'
      : `key that such a ${kind} is about`;
  return new KeyNotFoundError(
    `incident: there is no ${wanted}. See \`field-encryption keys list\`, also with --index.`,
  );
}

function noScopes(): ConfigurationError {
  return new ConfigurationError(
    'incident: a branch key is at risk, and this DataSource has no entity with keys of scopes, so that their rows would ' +
      'be left. Lead the incident with the DataSource that has all entities. Nothing was changed.',
  );
}

/** Whether a key is wrapped by the KEK that was given, alone or as `<kms>/<kek>`. */
export function isKek(
  { kms, kek }: { readonly kms: string | null; readonly kek: string | null },
  target: string,
): boolean {
  return target === kek || target === `${String(kms)}/${String(kek)}`;
}

/**
 * Refuses a KEK that would wrap the new keys: that of the common keys, and of each scope with a KMS of its own.
 *
 * @throws {@link ConfigurationError}
 */
export async function requireOtherKek(
  { installation: { hasScopes, keys } }: IncidentParts,
  target: string,
  atRisk: readonly KeyInfo[],
): Promise<void> {
  const own = atRisk.map(({ name }) => name).filter(isOwnBranchName);
  if (own.length > 0 && hasScopes) await keys.scopeOperations.nameOwnBranches();
  for (const name of new Set(['default', ...own])) {
    const { kms, kek } = await keys.operations.kekFor(name);
    if (!isKek({ kms, kek }, target)) continue;
    throw new ConfigurationError(
      `incident: kms "${kms}" still wraps new keys ${name === 'default' ? '' : `of "${name}" `}with the compromised KEK. Rotate the KEK there; or ` +
        'give the option kms another provider, and name the present one in otherKms. Then start again. Nothing was changed.',
    );
  }
}

/** Counts the rows at risk by a key, in every column; for a branch, those under keys of scopes that it has sealed. */
export async function rowsAtRisk(
  { installation, keys }: IncidentParts,
  key: KeyInfo,
): Promise<RowsAtRisk[]> {
  if (key.state === 'destroyed') return [];
  if (key.purpose === 'index') await encryptedRows(installation).refreshRoots();
  const rows = isBranchName(key.name)
    ? await rowsUnderBranch(installation, key.id)
    : (await keys.uses(key.id)).map(({ rowsUnderKey, ...use }) => ({ ...use, rows: rowsUnderKey }));
  return rows
    .filter((each) => each.rows > 0)
    .map(({ entity, property, rows: count }) => ({ entity, property, rows: count }));
}

function rowsUnderBranch(installation: Installation, branchId: string): Promise<RowsAtRisk[]> {
  const { dataSource } = installation;
  return withConnection(dataSource, undefined, async (runner) => {
    const found: RowsAtRisk[] = [];
    for (const table of encryptedTables(installation)) {
      for (const { column, policy, scope } of table.columns) {
        if (scope === undefined) continue;
        const { entity, property, storage } = policy;
        const cell = dataSource.driver.escape(column.databaseName);
        const only = `k.branch_id = '${branchId}'`;
        const states = ['active', 'deactivated'] as const;
        const where = underScopeKeySql(dataSource, cell, storage, states, only);
        found.push({ entity, property, rows: await countWhere(runner, table, where) });
      }
    }
    return found;
  });
}

/**
 * Returns the tables that some keys protect by their declarations, and those with rows under one, in the order of work:
 * first those with a key of a high level, then by name. So a run is about the same ones each time, also for who approved it.
 */
export function tablesOf(
  installation: Installation,
  keys: readonly KeyInfo[],
  rows: readonly RowsAtRisk[],
): EncryptedTable[] {
  const { keyPolicies = {} } = installation.options;
  const isMeant = ({ policy, indexes, scope }: EncryptedColumn): boolean =>
    rows.some(({ entity }) => entity === policy.entity) ||
    keys.some(({ name, purpose }) => {
      if (purpose === 'index') return indexes.length > 0;
      const isOfScopes = isBranchName(name) && scope !== undefined;
      return purpose === 'data' && (policy.keyName === name || isOfScopes);
    });
  const isHigh = ({ policy }: EncryptedColumn): boolean =>
    policyOf(keyPolicies, policy.keyName).securityLevel === 'high';
  const rank = ({ metadata, columns }: EncryptedTable): string =>
    `${columns.some(isHigh) ? '0' : '1'} ${metadata.name}`;
  return encryptedTables(installation)
    .filter(({ columns }) => columns.some(isMeant))
    .sort((a, b) => (rank(a) < rank(b) ? -1 : 1));
}

/** What is exposed, and by which keys. */
export interface Exposure {
  readonly counts: Readonly<Record<string, number>>;
  readonly risk: readonly { readonly name: string; readonly rows: number }[];
}

/** Counts what is exposed by some keys, also in backups that the log tells of. */
export async function exposure(
  parts: IncidentParts,
  { keys, isEvery }: KeysAtRisk,
): Promise<Exposure> {
  const { audit, hasScopes, keys: managed } = parts.installation;
  const risk: { name: string; rows: number }[] = [];
  for (const key of keys) {
    const rows = await rowsAtRisk(parts, key);
    risk.push({ name: key.id, rows: rows.reduce((sum, each) => sum + each.rows, 0) });
  }
  const since = new Date(Math.min(...keys.map(({ createdAt }) => createdAt.getTime())));
  const backups = await audit.list({ operation: 'backup', outcome: 'done', since, limit: 100_000 });
  const ids = keys.map(({ id }) => id);
  const scopeKeys = hasScopes ? await managed.scopes.store.countSealedBy(ids) : 0;
  const rows = risk.reduce((sum, each) => sum + each.rows, 0);
  const counts = { keys: keys.length, rows, scopeKeys, backups: backups.length };
  return { counts: { ...counts, ...(isEvery && { brokenLog: 1 }) }, risk };
}
