import { everyEntry } from '../audit/every-entry';
import type { DataKeys } from '../data-keys';
import { ConfigurationError, KeyNotFoundError, KeyStateError } from '../errors';
import { keyInfo, policyOf } from '../keys/policy/key-policy';
import type { KeyInfo } from '../keys/record/key-info';
import { isBranchName } from '../keys/record/scope';
import { encryptedRows } from '../reencryption/coverage/key-uses';
import { countWhere } from '../reencryption/coverage/prefix-counts';
import { underScopeKeySql } from '../reencryption/database/prefix-sql';
import { encryptedTables } from '../reencryption/encrypted-table';
import { withConnection } from '../typeorm/connection/lent-connection';
import type { Installation } from '../typeorm/installation/installation';
import type { EncryptedColumn } from '../typeorm/metadata/encrypted-column';

import type { IncidentKind } from './incident-log';

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

/**
 * Returns the keys that are compromised with a key, a branch or a KEK: of the last, also those that it wrapped before, as
 * the log tells, since its holder may have kept them. The key of the audit log is never replaced, and not among them.
 *
 * @throws {@link KeyNotFoundError} for none, {@link KeyStateError} for keys that are destroyed
 */
export async function keysAtRisk(
  { installation }: IncidentParts,
  kind: IncidentKind,
  target: string,
): Promise<KeyInfo[]> {
  const { options, store } = installation;
  const formerly = kind === 'kek' ? await keysOnceUnder(installation, target) : new Set<string>();
  const found = (await store.list())
    .filter(({ purpose }) => purpose !== 'audit')
    .filter(({ id, name, kek, kms }) => {
      if (kind === 'key') return id === target;
      if (kind === 'branch') return name === target && isBranchName(name);
      return isKek({ kms, kek }, target) || formerly.has(id);
    })
    .map((record) => keyInfo(record, options.keyPolicies));
  const living = found.filter(({ state }) => state !== 'destroyed');
  if (living.length > 0) return living;
  if (found.length > 0) {
    throw new KeyStateError(
      'incident: the key is destroyed, and nothing can be under it any more.',
    );
  }
  throw new KeyNotFoundError(
    `incident: there is no ${kind === 'key' ? 'such data key, index root or signing key' : `key that such a ${kind} is about`}. See \`field-encryption keys list\`, also with --index.`,
  );
}

async function keysOnceUnder({ audit }: Installation, target: string): Promise<Set<string>> {
  const ids = new Set<string>();
  for await (const entry of everyEntry((range) => audit.list(range))) {
    const { keyId, keyState } = entry;
    if (isKek(entry, target) && keyId !== null && keyState !== null) ids.add(keyId);
  }
  return ids;
}

/** Whether a key is wrapped by the KEK that was given, alone or as `<kms>/<kek>`. */
export function isKek(
  { kms, kek }: { readonly kms: string | null; readonly kek: string | null },
  target: string,
): boolean {
  return target === kek || target === `${String(kms)}/${String(kek)}`;
}

/**
 * Refuses a KEK that new keys would be wrapped by.
 *
 * @throws {@link ConfigurationError}
 */
export async function requireOtherKek({ keys }: IncidentParts, target: string): Promise<void> {
  const { kek, kms } = await keys.rewrap({ dryRun: true });
  if (!isKek({ kms, kek }, target)) return;
  throw new ConfigurationError(
    `incident: kms "${kms}" still wraps new keys with the compromised KEK. Rotate the KEK there; or give the option kms ` +
      'another provider, and name the present one in otherKms. Then start again. Nothing was changed.',
  );
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

/** Returns the names of entities in the order of work: those with a key of a high level first, then the smallest. */
export function inOrder({ columns, options }: Installation, rows: readonly RowsAtRisk[]): string[] {
  const isHigh = ({ policy }: EncryptedColumn): boolean =>
    policyOf(options.keyPolicies ?? {}, policy.keyName).securityLevel === 'high';
  const high = new Set(
    [...columns.byEntity].filter(([, each]) => each.columns.some(isHigh)).map(([{ name }]) => name),
  );
  const sum = (name: string): number =>
    rows.reduce((total, each) => total + (each.entity === name ? each.rows : 0), 0);
  return [...new Set(rows.map(({ entity }) => entity))].sort(
    (a, b) => Number(high.has(b)) - Number(high.has(a)) || sum(a) - sum(b),
  );
}

/** What is exposed, and by which keys. */
export interface Exposure {
  readonly counts: Readonly<Record<string, number>>;
  readonly risk: readonly { readonly name: string; readonly rows: number }[];
}

/** Counts what is exposed by some keys, also in backups that the log tells of. */
export async function exposure(parts: IncidentParts, keys: readonly KeyInfo[]): Promise<Exposure> {
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
  return { counts: { keys: keys.length, rows, scopeKeys, backups: backups.length }, risk };
}
