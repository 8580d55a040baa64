import type { DataSource, EntityMetadata } from 'typeorm';

import { ConfigurationError } from '../../../errors';

import { quotedPath } from './names';
import { inSchema } from './table-name';

/** The settings of a session that are looked at, by their names in lower case. */
type Settings = Readonly<Record<string, string | undefined>>;

/** What a setting has to be, and how to make it so. */
interface Rule {
  readonly isMet: (settings: Settings) => boolean;
  /** What happens otherwise. */
  readonly problem: string;
  readonly remedy: string;
}

const NAMES = [
  'autocommit',
  'binlog_format',
  'character_set_client',
  'character_set_connection',
  'character_set_results',
  'log_bin',
  'sql_mode',
  'sql_select_limit',
  'transaction_isolation',
  'tx_isolation',
  'version',
];

const SETTINGS_SQL = `SHOW VARIABLES WHERE Variable_name IN (${NAMES.map((name) => `'${name}'`).join(', ')})`;

/** MySQL has no variable that shows the option. */
const CLOCK_SQL = 'SELECT SLEEP(0.001) AS pause, SYSDATE(6) <> NOW(6) AS goes_on';

/** The versions from which the SQL of this library is tested, or documented to work. */
const OLDEST = { MariaDB: [10, 6, 0], MySQL: [8, 0, 22] } as const;

const RULES: readonly Rule[] = [
  {
    isMet: ({ sql_mode = '' }) => /STRICT_(TRANS|ALL)_TABLES/.test(sql_mode),
    problem:
      'sql_mode is not strict, so that values which are too long would be cut without an error',
    remedy: 'Add STRICT_TRANS_TABLES to sql_mode',
  },
  {
    isMet: ({ sql_mode = '' }) => !sql_mode.includes('NO_BACKSLASH_ESCAPES'),
    problem: 'sql_mode has NO_BACKSLASH_ESCAPES, by which mysql2 does not escape parameters',
    remedy: 'Take it out of sql_mode',
  },
  {
    isMet: ({ sql_mode = '' }) => !/\bORACLE\b/.test(sql_mode),
    problem:
      'sql_mode has ORACLE, in which the statements of TypeORM and of this library mean other things',
    remedy: 'Take it out of sql_mode',
  },
  {
    isMet: ({ sql_mode = '' }) => !sql_mode.includes('PAD_CHAR_TO_FULL_LENGTH'),
    problem:
      'sql_mode has PAD_CHAR_TO_FULL_LENGTH, by which spaces are read that nobody wrote, and keys are not found by them',
    remedy: 'Take it out of sql_mode',
  },
  {
    isMet: ({ autocommit }) => autocommit === 'ON',
    problem: 'autocommit is off, so that statements outside of transactions would be lost',
    remedy: 'Set autocommit = 1',
  },
  {
    isMet: ({ character_set_client: client, character_set_connection: connection }) =>
      client === 'utf8mb4' && connection === 'utf8mb4',
    problem:
      'the character set of the connection is not utf8mb4, so that characters would become question marks',
    remedy: "Take the option charset away, or give charset: 'utf8mb4'",
  },
  {
    // Empty where results are sent as they are stored, which the driver is told with each column.
    isMet: ({ character_set_results: charset }) => charset === 'utf8mb4' || charset === '',
    problem:
      'the character set of results (character_set_results) is not utf8mb4, so that a run would read question marks and encrypt these',
    remedy: 'Set character_set_results = utf8mb4',
  },
  {
    isMet: ({ sql_select_limit: limit }) => BigInt(limit ?? 0) >= 2n ** 63n,
    problem: 'sql_select_limit leaves rows out of results',
    remedy: 'Set sql_select_limit = DEFAULT',
  },
  {
    isMet: ({ transaction_isolation, tx_isolation }) =>
      ![transaction_isolation, tx_isolation].includes('READ-UNCOMMITTED'),
    problem:
      'transactions read what others have not committed, keys that may be rolled back among it',
    remedy: 'Set the isolation to READ COMMITTED or higher',
  },
  {
    // Each write fails once its key is too old, by the clock at the time that it is executed.
    isMet: ({ log_bin, binlog_format }) => log_bin !== 'ON' || binlog_format !== 'STATEMENT',
    problem:
      'binlog_format is STATEMENT, and writes that are replayed later fail, so that replicas stop and a recovery to a point in time loses rows',
    remedy: 'Set binlog_format = ROW or MIXED',
  },
];

/**
 * Refuses a driver, a server, or settings of its sessions, under which values could be lost.
 *
 * @throws {@link ConfigurationError}
 */
export async function requireSettings(
  dataSource: DataSource,
  tables: readonly EntityMetadata[],
): Promise<void> {
  await requirePackage(dataSource);
  await requireSession((sql) => dataSource.query(sql));
  await requireClock(dataSource);
  await requireTransactions(dataSource, tables);
}

/** TypeORM 0.3 takes the package `mysql` where both are installed, which does not count warnings. */
async function requirePackage(dataSource: DataSource): Promise<void> {
  const runner = dataSource.createQueryRunner();
  try {
    const connection = (await runner.connect()) as { readonly execute?: unknown };
    if (typeof connection.execute === 'function') return;
  } finally {
    await runner.release();
  }
  throw new ConfigurationError(
    'TypeORM has loaded another package than mysql2, whose connections have no prepared statements. ' +
      "Install mysql2, and give the DataSource the option connectorPackage: 'mysql2'.",
  );
}

/** Other engines lock no rows and roll nothing back. Asks for all tables at once, as this is part of the start. */
async function requireTransactions(
  dataSource: DataSource,
  tables: readonly EntityMetadata[],
): Promise<void> {
  if (tables.length === 0) return;
  const places = tables.map(({ tablePath }) => inSchema(tablePath));
  const anyOf = places.map(({ sql }) => `(${sql})`).join(' OR ');
  const [other] = await dataSource.query<{ name: string; engine: string }[]>(
    `SELECT table_name AS name, engine AS engine FROM information_schema.tables WHERE engine <> 'InnoDB' AND (${anyOf})`,
    places.flatMap(({ values }) => values),
  );
  if (other === undefined) return;
  const metadata = tables.find(
    ({ tableName }) => tableName.toLowerCase() === other.name.toLowerCase(),
  );
  const { name, tablePath } = metadata ?? { name: other.name, tablePath: other.name };
  throw new ConfigurationError(
    `${name}: the table ${tablePath} has the engine ${other.engine}, which has no transactions and locks no rows, so that ` +
      `a run could write over what your application writes. ALTER TABLE ${quotedPath(tablePath)} ENGINE = InnoDB`,
    { entity: name },
  );
}

/**
 * Refuses settings of one session: the application may change them after the start, or for some connections only.
 *
 * @param read - runs SQL in the session.
 * @throws {@link ConfigurationError}
 */
export async function requireSession(
  read: (sql: string) => Promise<readonly unknown[]>,
): Promise<void> {
  const rows = (await read(SETTINGS_SQL)) as { Variable_name: string; Value: string }[];
  const settings: Settings = Object.fromEntries(
    rows.map(({ Variable_name: name, Value: value }) => [name.toLowerCase(), value]),
  );
  requireVersion(settings['version'] ?? '');
  const broken = RULES.find(({ isMet }) => !isMet(settings));
  if (broken === undefined) return;
  throw new ConfigurationError(
    `The session of the database is not fit for field encryption: ${broken.problem}. ${broken.remedy}, ` +
      'on the server or by what your application sets for each connection.',
  );
}

/** A write that waits for a lock must not be made with a key that is no longer used then. */
async function requireClock(dataSource: DataSource): Promise<void> {
  const [clock] = await dataSource.query<{ goes_on: number | string }[]>(CLOCK_SQL);
  if (Number(clock?.goes_on) === 1) return;
  throw new ConfigurationError(
    'The server runs with --sysdate-is-now, by which its clock stands still during a statement: one that waits for ' +
      'a lock could write with a key that is no longer used. Start the server without it.',
  );
}

function requireVersion(version: string): void {
  const product = version.includes('MariaDB') ? 'MariaDB' : 'MySQL';
  const oldest = OLDEST[product];
  const parts = version.split(/[.-]/).map(Number);
  const at = oldest.findIndex((part, i) => part !== parts[i]);
  if (at < 0 || (parts[at] ?? 0) > (oldest[at] ?? 0)) return;
  throw new ConfigurationError(
    `The server is ${product} ${version}, and field encryption needs ${product} ${oldest.join('.')} or newer, ` +
      'which holds rows to CHECK constraints and has JSON_TABLE.',
  );
}
