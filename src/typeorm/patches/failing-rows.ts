import type { DataSource, EntityMetadata } from 'typeorm';
import type { Installation } from '../installation/installation';

/** The part of an error of PostgreSQL that is used. */
interface PostgresError {
  readonly code?: unknown;
  readonly table?: unknown;
  detail?: unknown;
}

/** The part of a client of `pg` that is used. */
interface Client {
  query: (...args: unknown[]) => unknown;
}

/** A connection of TypeORM's driver, and the function that gives it back. */
type Obtained = readonly [Client, ...unknown[]];

/** NOT NULL, CHECK and WITH CHECK OPTION, whose errors quote the whole row. */
const ROW_CODES = ['23502', '23514', '44000'];
/** All other violations of constraints quote the key at most, as `Key (email)=(…) already exists.` */
const CONSTRAINT_CLASS = '23';
const KEY = /^(.*?\()(.*?)(\)=\().*(\).*)$/s;

const ROW_LEFT_OUT =
  'The row is left out by field encryption: its table may hold encrypted columns.';
const VALUE_LEFT_OUT = '[encrypted]';

/**
 * Takes the rows out of the errors of PostgreSQL, which quotes them in `detail` when a constraint is
 * violated: cleartext that a CHECK has kept out, stored values that are not encrypted yet, tokens. It is
 * done before TypeORM has the error, so that no log, subscriber or `driverError` shows them. The
 * messages themselves, and all that SQLite says, name constraints and columns only.
 */
export function leaveOutFailingRows(installation: Installation): void {
  const { driver, options } = installation.dataSource;
  if (options.type !== 'postgres') return;
  for (const method of ['obtainMasterConnection', 'obtainSlaveConnection'] as const) {
    const obtain = driver[method].bind(driver) as () => Promise<Obtained>;
    driver[method] = async () => {
      const obtained = await obtain();
      watch(obtained[0], installation);
      return obtained;
    };
  }
}

const watched = new WeakSet<Client>();

function watch(client: Client, installation: Installation): void {
  if (watched.has(client)) return;
  watched.add(client);
  const query = client.query.bind(client);
  client.query = (...args) => {
    const result = query(...args);
    // Runs before the code that awaits the result, without delaying it.
    if (isPromise(result)) {
      void result.then(undefined, (error: unknown) => {
        leaveOut(error, installation);
      });
    }
    return result;
  };
}

/** Not of the class that is global here: `pg` can be told another one. */
function isPromise(result: unknown): result is PromiseLike<unknown> {
  return typeof result === 'object' && result !== null && 'then' in result;
}

function leaveOut(error: unknown, { dataSource, encryptedEntity }: Installation): void {
  if (typeof error !== 'object' || error === null) return;
  const failure = error as PostgresError;
  const { code, table, detail } = failure;
  if (typeof code !== 'string' || typeof detail !== 'string') return;
  const quotesRow = ROW_CODES.includes(code);
  if (!quotesRow && !code.startsWith(CONSTRAINT_CLASS)) return;
  const entities = entitiesOf(dataSource, table);
  const encrypted = entities.flatMap((each) => encryptedEntity(each)?.columns ?? []);
  // Copies of rows may be in tables that no entity maps.
  const isOther = entities.length === 0;
  if (encrypted.length === 0 && !isOther) return;
  const names = encrypted.flatMap(({ column, indexes }) =>
    [column, ...indexes.map((each) => each.column)].map(({ databaseName }) => databaseName),
  );
  const isSecret = (columns: string): boolean =>
    isOther || names.some((name) => columns.toLowerCase().includes(name.toLowerCase()));
  failure.detail = quotesRow ? ROW_LEFT_OUT : withoutKey(detail, isSecret);
}

function entitiesOf({ entityMetadatas }: DataSource, table: unknown): EntityMetadata[] {
  const name = String(table).toLowerCase();
  return entityMetadatas.filter(({ tableName }) => tableName.toLowerCase() === name);
}

function withoutKey(detail: string, isSecret: (columns: string) => boolean): string {
  const [, start = '', columns = '', between = '', end = ''] = KEY.exec(detail) ?? [];
  if (between === '') return ROW_LEFT_OUT;
  return isSecret(columns) ? `${start}${columns}${between}${VALUE_LEFT_OUT}${end}` : detail;
}
