import type { DataSource } from 'typeorm';

import type { SecretsOf } from '../secret-rows';

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

/** The part of TypeORM's driver that is used, whose connections come with the function that gives them back. */
interface ObtainingDriver {
  obtainMasterConnection(): Promise<readonly [Client, ...unknown[]]>;
  obtainSlaveConnection(): Promise<readonly [Client, ...unknown[]]>;
}

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
 * cleartext that a CHECK has kept out, stored values that are not encrypted yet, tokens. The messages
 * themselves name only constraints and columns.
 */
export function redactFailingRows({ driver }: DataSource, secretsOf: SecretsOf): void {
  const obtaining = driver as unknown as ObtainingDriver;
  for (const method of ['obtainMasterConnection', 'obtainSlaveConnection'] as const) {
    const obtain = obtaining[method].bind(obtaining);
    obtaining[method] = async () => {
      const obtained = await obtain();
      watch(obtained[0], secretsOf);
      return obtained;
    };
  }
}

const watched = new WeakSet<Client>();

function watch(client: Client, secretsOf: SecretsOf): void {
  if (watched.has(client)) return;
  watched.add(client);
  const query = client.query.bind(client);
  client.query = (...args) => {
    const result = query(...args);
    // Runs before the code that awaits the result, without delaying it.
    if (isPromise(result)) {
      void result.then(undefined, (error: unknown) => {
        redact(error, secretsOf);
      });
    }
    return result;
  };
}

/** Does not test for the global Promise class: `pg` can be given another one. */
function isPromise(result: unknown): result is PromiseLike<unknown> {
  return typeof result === 'object' && result !== null && 'then' in result;
}

function redact(error: unknown, secretsOf: SecretsOf): void {
  if (typeof error !== 'object' || error === null) return;
  const failure = error as PostgresError;
  const { code, table, detail } = failure;
  if (typeof code !== 'string' || typeof detail !== 'string') return;
  const quotesRow = ROW_CODES.includes(code);
  if (!quotesRow && !code.startsWith(CONSTRAINT_CLASS)) return;
  const isSecret = secretsOf(table);
  if (isSecret === undefined) return;
  failure.detail = quotesRow ? ROW_LEFT_OUT : withoutKey(detail, isSecret);
}

function withoutKey(detail: string, isSecret: (columns: string) => boolean): string {
  const [, start = '', columns = '', between = '', end = ''] = KEY.exec(detail) ?? [];
  if (between === '') return ROW_LEFT_OUT;
  return isSecret(columns) ? `${start}${columns}${between}${VALUE_LEFT_OUT}${end}` : detail;
}
