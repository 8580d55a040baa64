import type { EntityMetadata, EntitySchema, QueryRunner } from 'typeorm';
import { AuditSchema } from '../typeorm/audit-table';
import { DataKeySchema } from '../typeorm/data-key-table';
import { escapedTable } from '../typeorm/escaped-table';
import type { Installation } from '../typeorm/installation';
import { RangeSchema, RunSchema } from '../typeorm/run-tables';
import type { DatabaseCheck } from './check';
import type { Finding } from './finding';
import { finding } from './finding';

const SCHEMAS = { keys: DataKeySchema, audit: AuditSchema, runs: RunSchema, ranges: RangeSchema };
type OwnTable = keyof typeof SCHEMAS;

const RIGHTS = ['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE'] as const;
type Right = (typeof RIGHTS)[number];

/** What the role may do with a table. */
type Granted = ReadonlySet<Right>;

/** Whether the library's own tables are there, and what the role of this process may do with them. */
export const ownTables: DatabaseCheck = async (installation, runner) => {
  const isPostgres = installation.dataSource.options.type === 'postgres';
  const found: Finding[] = [];
  const granted = new Map<OwnTable, Granted>();
  for (const name of Object.keys(SCHEMAS) as OwnTable[]) {
    if (name === 'audit' && installation.options.audit === false) continue;
    const path = pathOf(installation, SCHEMAS[name]);
    const rights = isPostgres
      ? await grantedOn(runner, escapedOf(installation, SCHEMAS[name]))
      : await allWhereThere(runner, path);
    if (rights === undefined) found.push(missing(path));
    else {
      granted.set(name, rights);
      found.push(...(await unguarded(runner, installation.dataSource.getMetadata(SCHEMAS[name]))));
    }
  }
  return [...found, ...judged(installation, granted)];
};

function judged(installation: Installation, granted: ReadonlyMap<OwnTable, Granted>): Finding[] {
  const path = (name: OwnTable): string => pathOf(installation, SCHEMAS[name]);
  const lacks = (name: OwnTable, ...rights: Right[]): boolean => {
    const on = granted.get(name);
    return on !== undefined && rights.some((right) => !on.has(right));
  };
  const found: Finding[] = [];
  if (lacks('keys', 'SELECT')) found.push(unreadable(path('keys')));
  const changesKeys = granted.has('keys') && !lacks('keys', 'INSERT', 'UPDATE');
  if (changesKeys && lacks('audit', 'SELECT', 'INSERT')) {
    found.push(
      finding(
        'RIGHTS_INCOMPLETE',
        `The database role may change keys and not record it: it lacks SELECT or INSERT on ${path('audit')}, and every operation on a key fails.`,
        `Run: GRANT SELECT, INSERT ON ${path('audit')} TO the role; or take INSERT and UPDATE on ${path('keys')} away from it.`,
      ),
    );
  }
  const limits = [
    ...(granted.has('keys') && !changesKeys
      ? [`make or change keys (${path('keys')}), nor count their uses`]
      : []),
    ...(lacks('runs', 'SELECT', 'INSERT', 'UPDATE', 'DELETE') ||
    lacks('ranges', 'SELECT', 'INSERT', 'UPDATE', 'DELETE')
      ? [`run over the rows (${path('runs')}, ${path('ranges')})`]
      : []),
  ];
  if (limits.length > 0) {
    found.push(
      finding(
        'RIGHTS_LIMITED',
        `The database role may not ${limits.join('; nor ')}.`,
        'That is right for an application that only uses keys; operators need another role. See the roles in docs/operations.md.',
      ),
    );
  }
  const audit = granted.get('audit');
  const changes = (['UPDATE', 'DELETE', 'TRUNCATE'] as const).filter((right) => audit?.has(right));
  if (changes.length > 0 && installation.dataSource.options.type === 'postgres') {
    found.push(
      finding(
        'AUDIT_LOG_CHANGEABLE',
        `The database role may change or cut the audit log (${changes.join(', ')} on ${path('audit')}).`,
        'Let another role own the table, and grant SELECT and INSERT only. `audit verify` shows edits, and a cut by a head that was noted elsewhere.',
      ),
    );
  }
  return found;
}

/** Without them there may be two rows of one key, of which one is taken for both. */
async function unguarded(runner: QueryRunner, metadata: EntityMetadata): Promise<Finding[]> {
  const { tablePath, primaryColumns, indices } = metadata;
  const live = await runner.getTable(tablePath);
  if (live === undefined) return [];
  const primary = primaryColumns.map(({ databaseName }) => databaseName);
  const isPrimary = isSame(
    live.primaryColumns.map(({ name }) => name),
    primary,
  );
  const lost = isPrimary ? [] : ['its primary key'];
  for (const { isUnique, columns, where } of indices) {
    const names = columns.map(({ databaseName }) => databaseName);
    const isThere = live.indices.some(
      (index) =>
        index.isUnique &&
        isSame(index.columnNames, names) &&
        Boolean(index.where) === Boolean(where),
    );
    if (isUnique && !isThere) lost.push(`a unique index over ${names.join(', ')}`);
  }
  return lost.length === 0 ? [] : [withoutGuard(tablePath, lost)];
}

/** TypeORM gives the columns of an index of PostgreSQL in any order. */
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

/** `undefined` where there is no such table. */
async function grantedOn(runner: QueryRunner, table: string): Promise<Granted | undefined> {
  const [row] = (await runner.query(
    `SELECT to_regclass($1) IS NOT NULL AS there, ARRAY(
       SELECT r FROM unnest($2::text[]) AS r WHERE
         has_table_privilege(to_regclass($1)::oid, r)
         OR r IN ('SELECT', 'INSERT', 'UPDATE') AND has_any_column_privilege(to_regclass($1)::oid, r)
     ) AS rights`,
    [table, RIGHTS],
  )) as { there: boolean; rights: Right[] }[];
  return row?.there === true ? new Set(row.rights) : undefined;
}

/** SQLite knows no roles. */
async function allWhereThere(runner: QueryRunner, path: string): Promise<Granted | undefined> {
  return (await runner.hasTable(path)) ? new Set(RIGHTS) : undefined;
}

function pathOf({ dataSource }: Installation, schema: EntitySchema): string {
  return dataSource.getMetadata(schema).tablePath;
}

function escapedOf({ dataSource }: Installation, schema: EntitySchema): string {
  return escapedTable(dataSource, dataSource.getMetadata(schema));
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
