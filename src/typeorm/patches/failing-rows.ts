import type { DataSource, EntityMetadata } from 'typeorm';

import type { Installation } from '../installation/installation';
import { ScopeKeySchema } from '../tables/scope-key-table';

import { override } from './override';

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
/** Other violations of constraints quote the key at most, as in `Key (email)=(…) already exists.` */
const CONSTRAINT_CLASS = '23';
const KEY = /^(.*?\()(.*?)(\)=\().*(\).*)$/s;

const ROW_LEFT_OUT =
  'The row is left out by field encryption: its table may hold encrypted columns.';
const VALUE_LEFT_OUT = '[encrypted]';

/**
 * Removes rows from the errors of PostgreSQL, which quotes them in `detail` when a constraint is violated:
 * cleartext that a CHECK has kept out, stored values that are not encrypted yet, tokens. This happens
 * before TypeORM has the error, so that no log, subscriber or `driverError` shows them. The messages
 * themselves, and the errors of SQLite, name only constraints and columns.
 */
export function redactFailingRows(installation: Installation): void {
  const { driver, options } = installation.dataSource;
  if (options.type !== 'postgres') return;
  for (const method of ['obtainMasterConnection', 'obtainSlaveConnection'] as const) {
    override(driver, method, (obtain: () => Promise<Obtained>) => async () => {
      const obtained = await obtain();
      watch(obtained[0], installation);
      return obtained;
    });
  }
}

const watched = new WeakSet<Client>();

function watch(client: Client, installation: Installation): void {
  if (watched.has(client)) return;
  watched.add(client);
  override(client, 'query', (query) => (...args) => {
    const result = query(...args);
    // Runs before the code that awaits the result, without delaying it.
    if (isPromise(result)) {
      void result.then(undefined, (error: unknown) => {
        redact(error, installation);
      });
    }
    return result;
  });
}

/** Does not test for the global Promise class: `pg` can be given another one. */
function isPromise(result: unknown): result is PromiseLike<unknown> {
  return typeof result === 'object' && result !== null && 'then' in result;
}

function redact(error: unknown, { dataSource, encryptedEntity }: Installation): void {
  if (typeof error !== 'object' || error === null) return;
  const failure = error as PostgresError;
  const { code, table, detail } = failure;
  if (typeof code !== 'string' || typeof detail !== 'string') return;
  const quotesRow = ROW_CODES.includes(code);
  if (!quotesRow && !code.startsWith(CONSTRAINT_CLASS)) return;
  const entities = entitiesOf(dataSource, table);
  const encrypted = entities.flatMap((each) => encryptedEntity(each)?.columns ?? []);
  // A table that no entity maps may hold copies of encrypted rows, and ids of scopes may be those of persons.
  const isOther = entities.every(({ name }) => name === ScopeKeySchema.options.name);
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
