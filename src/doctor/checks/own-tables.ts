import type { EntityMetadata, EntitySchema, QueryRunner } from 'typeorm';

import { encryptedTables } from '../../reencryption/encrypted-table';
import type { Right } from '../../typeorm/dialect/database-catalog';
import { catalogOf, dialectOf } from '../../typeorm/dialect/dialect-of';
import type { TableGuards } from '../../typeorm/dialect/own-tables';
import { escapedTable } from '../../typeorm/dialect/escaped-table';
import type { Installation } from '../../typeorm/installation/installation';
import { AccessSchema } from '../../typeorm/tables/access-table';
import { DataKeySchema } from '../../typeorm/tables/data-key-table';
import { OWN_TABLES } from '../../typeorm/tables/own-tables';
import { RangeSchema, RunSchema } from '../../typeorm/tables/run-tables';
import { ScopeKeySchema } from '../../typeorm/tables/scope-key-table';
import { ApprovalSchema } from '../../typeorm/tables/typeorm-approval-store';
import { AuditSchema } from '../../typeorm/tables/typeorm-audit-store';
import { SigningKeySchema } from '../../typeorm/tables/typeorm-signing-key-store';
import { finding } from '../finding';
import type { DatabaseCheck, Finding } from '../finding';

const SCHEMAS = {
  ...{ keys: DataKeySchema, audit: AuditSchema, runs: RunSchema, ranges: RangeSchema },
  ...{ scopes: ScopeKeySchema, access: AccessSchema, approvals: ApprovalSchema },
  signing: SigningKeySchema,
};
type OwnTable = keyof typeof SCHEMAS;

/** Rights by which a log can be made to say something else. */
const CHANGES = ['UPDATE', 'DELETE', 'TRUNCATE'] as const;

/** The rights of the role on a table. */
type Granted = ReadonlySet<Right>;

/** Checks that the library's own tables exist, and the rights of this process's role on them. */
export const ownTables: DatabaseCheck = async (installation, runner) => {
  const found: Finding[] = [];
  const granted = new Map<OwnTable, Granted>();
  for (const name of Object.keys(SCHEMAS) as OwnTable[]) {
    if (name === 'audit' && installation.options.audit === false) continue;
    if (name === 'scopes' && !installation.hasScopes) continue;
    if (name === 'access' && !writesAccess(installation)) continue;
    if (name === 'approvals' && installation.options.approvals === undefined) continue;
    const metadata = installation.dataSource.getMetadata(SCHEMAS[name]);
    const rights = await catalogOf(runner).rights(runner, metadata);
    if (rights === undefined) found.push(missing(metadata.tablePath));
    else {
      granted.set(name, rights);
      found.push(...(await unguarded(runner, metadata)));
    }
  }
  return [...found, ...rightsFindings(installation, granted)];
};

function rightsFindings(
  installation: Installation,
  granted: ReadonlyMap<OwnTable, Granted>,
): Finding[] {
  const path = (name: OwnTable): string => pathOf(installation, SCHEMAS[name]);
  const lacks = (name: OwnTable, ...rights: Right[]): boolean => {
    const on = granted.get(name);
    return on !== undefined && rights.some((right) => !on.has(right));
  };
  const found: Finding[] = [];
  for (const name of ['keys', 'scopes', 'approvals'] as const) {
    if (lacks(name, 'SELECT')) found.push(unreadable(path(name)));
  }
  const changesKeys = granted.has('keys') && !lacks('keys', 'INSERT', 'UPDATE');
  if (changesKeys && lacks('audit', 'SELECT', 'INSERT')) {
    found.push(unrecorded(path('keys'), path('audit')));
  }
  const limits = [
    ...(granted.has('keys') && !changesKeys ? [`make or change keys (${path('keys')})`] : []),
    ...(lacks('keys', 'UPDATE') ? [`count the uses of keys (${path('keys')})`] : []),
    ...(lacks('scopes', 'INSERT') ? [`write for a new scope (${path('scopes')})`] : []),
    ...(lacks('signing', 'SELECT', 'INSERT')
      ? [`make signing keys, or verify by destroyed ones (${path('signing')})`]
      : []),
    ...(lacks('access', 'INSERT') ? [`record who has used values (${path('access')})`] : []),
    ...(lacks('runs', 'SELECT', 'INSERT', 'UPDATE', 'DELETE') ||
    lacks('ranges', 'SELECT', 'INSERT', 'UPDATE', 'DELETE')
      ? [`run over the rows (${path('runs')}, ${path('ranges')})`]
      : []),
  ];
  if (limits.length > 0) found.push(limited(limits));
  if (!dialectOf(installation.dataSource).catalog.hasRoles) return found;
  for (const name of ['audit', 'access'] as const) {
    const rights = granted.get(name);
    const changes = CHANGES.filter((right) => rights?.has(right));
    if (changes.length > 0) found.push(changeable(name, path(name), changes));
  }
  return found;
}

/** Whether uses of values are recorded in the table. */
function writesAccess({ options: { accessLog } }: Installation): boolean {
  return accessLog !== undefined && accessLog.sink === undefined;
}

/** Finds lost primary keys and unique indexes, without which one key could have two rows. */
async function unguarded(runner: QueryRunner, metadata: EntityMetadata): Promise<Finding[]> {
  const { tablePath, primaryColumns, indices } = metadata;
  const live = await guardsOf(runner, tablePath);
  if (live === undefined) return [];
  const primary = primaryColumns.map(({ databaseName }) => databaseName);
  const lost = isSame(live.primary, primary) ? [] : ['its primary key'];
  for (const { isUnique, columns, where } of indices) {
    const names = columns.map(({ databaseName }) => databaseName);
    const isThere = live.unique.some(
      (index) => isSame(index.columns, names) && index.isPartial === Boolean(where),
    );
    if (isUnique && !isThere) lost.push(`a unique index over ${names.join(', ')}`);
  }
  return lost.length === 0 ? [] : [withoutGuard(tablePath, lost)];
}

async function guardsOf(runner: QueryRunner, tablePath: string): Promise<TableGuards | undefined> {
  const { ownTables: own } = dialectOf(runner.connection);
  if (own !== undefined) return own.guards(runner, tablePath);
  const live = await runner.getTable(tablePath);
  return (
    live && {
      primary: live.primaryColumns.map(({ name }) => name),
      unique: live.indices
        .filter(({ isUnique }) => isUnique)
        .map(({ columnNames, where }) => ({ columns: columnNames, isPartial: Boolean(where) })),
    }
  );
}

/** Compares without order: TypeORM returns the columns of a PostgreSQL index in any order. */
function isSame(found: readonly string[], wanted: readonly string[]): boolean {
  return found.length === wanted.length && wanted.every((name) => found.includes(name));
}

function withoutGuard(path: string, lost: readonly string[]): Finding {
  return finding(
    'OWN_TABLE_UNGUARDED',
    `The table ${path} of the library has lost ${lost.join(' and ')}: nothing keeps a row from being there twice.`,
    'Find out who took it away. Remove rows that are there twice (`field-encryption audit verify` names those of keys), and create it again as the migrations in fieldEncryptionMigrations do.',
  );
}

function pathOf({ dataSource }: Installation, schema: EntitySchema): string {
  return dataSource.getMetadata(schema).tablePath;
}

function missing(path: string): Finding {
  return finding(
    'OWN_TABLE_MISSING',
    `The table ${path} of the library does not exist.`,
    'Run the migrations with fieldEncryptionMigrations among them, or `field-encryption init`.',
  );
}

function unreadable(path: string): Finding {
  return finding(
    'OWN_TABLE_UNREADABLE',
    `The database role may not read ${path}: nothing can be encrypted or decrypted.`,
    `Run: GRANT SELECT ON ${path} TO the role.`,
  );
}

function unrecorded(keys: string, audit: string): Finding {
  return finding(
    'RIGHTS_INCOMPLETE',
    `The database role may change keys and not record it: it lacks SELECT or INSERT on ${audit}, and every operation on a key fails.`,
    `Run: GRANT SELECT, INSERT ON ${audit} TO the role; or take INSERT and UPDATE on ${keys} away from it.`,
  );
}

function limited(limits: readonly string[]): Finding {
  return finding(
    'RIGHTS_LIMITED',
    `The database role may not ${limits.join('; nor ')}.`,
    'That is right for a role that is not meant to. What applications, runs and operators need, docs/operations.md lists under Database roles.',
  );
}

function changeable(log: 'audit' | 'access', table: string, changes: readonly Right[]): Finding {
  return finding(
    'AUDIT_LOG_CHANGEABLE',
    `The database role may change or cut the ${log} log (${changes.join(', ')} on ${table}).`,
    log === 'audit'
      ? 'Let another role own the table, and grant SELECT and INSERT only. `audit verify` shows edits, and a cut by a head that was noted elsewhere.'
      : 'Let another role own the table, and grant INSERT only. `access list` shows edits.',
  );
}

/** Checks that the database hides no rows from the role of this process. */
export const rowSecurity: DatabaseCheck = async (installation, runner) => {
  const { dataSource } = installation;
  const found: Finding[] = [];
  for (const { schema } of OWN_TABLES) {
    const metadata = dataSource.getMetadata(schema);
    if (await mayHide(runner, escapedTable(dataSource, metadata))) {
      found.push(ownRowsHidden(metadata.tablePath));
    }
  }
  for (const { metadata, name } of encryptedTables(installation)) {
    if (await mayHide(runner, name)) found.push(rowsHidden(metadata.name, metadata.tablePath));
  }
  return found;
};

/** Whether a row-level policy applies to the role; `false` for a table that does not exist. */
export async function mayHide(runner: QueryRunner, table: string): Promise<boolean> {
  const { rowSecurity: policies } = dialectOf(runner.connection).transactions;
  return (await policies?.mayHide(runner, table)) === true;
}

function rowsHidden(entity: string, table: string): Finding {
  return finding(
    'ROWS_HIDDEN',
    `Row-level security applies to the database role on ${table} of ${entity}: it may not see all rows. Runs, status and the destruction of keys are refused to it, the retention of scheduled maintenance too, and so are first keys.`,
    'That is right for an application that only uses keys. Run these as a role with BYPASSRLS, or as the owner of the table where it has no FORCE ROW LEVEL SECURITY. See the roles in docs/operations.md.',
  );
}

function ownRowsHidden(table: string): Finding {
  return finding(
    'OWN_ROWS_HIDDEN',
    `Row-level security applies to the database role on ${table}, a table of the library: what it hides is taken for missing.`,
    `Run: ALTER TABLE ${table} DISABLE ROW LEVEL SECURITY`,
  );
}
