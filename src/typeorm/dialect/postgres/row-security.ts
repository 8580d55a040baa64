import { QueryFailedError } from 'typeorm';
import type { EntityMetadata } from 'typeorm';

import { ConfigurationError } from '../../../errors';
import { driverError } from '../database-code';
import type { RowSecurity } from '../transactions';

/** Makes PostgreSQL refuse, until the transaction ends, statements from which a policy would hide rows. */
const HIDE_NOTHING = 'SET LOCAL row_security = off';
const SAVEPOINT = 'field_encryption_all_rows';

/** The part of a client of `pg` that is used. */
interface Client {
  query(sql: string): Promise<readonly { readonly command: string; readonly rows: unknown[] }[]>;
}

export const rowSecurity: RowSecurity = {
  mayHide: async (runner, table) => {
    const [row] = (await runner.query(
      'SELECT row_security_active(CAST(to_regclass($1) AS oid)) AS active',
      [table],
    )) as { active: boolean | null }[];
    return row?.active === true;
  },

  // One message makes the setting, reads, and undoes the setting, so that no other statement runs under it.
  select: async (runner, metadata, sql) => {
    const client = (await runner.connect()) as Client;
    const undo = `ROLLBACK TO SAVEPOINT ${SAVEPOINT}; RELEASE SAVEPOINT ${SAVEPOINT}`;
    const isWithin = runner.isTransactionActive;
    const message = isWithin
      ? `SAVEPOINT ${SAVEPOINT}; ${HIDE_NOTHING}; ${sql}; ${undo}`
      : `${HIDE_NOTHING}; ${sql}; SET LOCAL row_security TO DEFAULT`;
    try {
      const results = await client.query(message);
      return results.find(({ command }) => command === 'SELECT')?.rows ?? [];
    } catch (error) {
      if (isWithin) await client.query(undo).catch(() => undefined);
      throw explainHiddenRows(new QueryFailedError(sql, undefined, error as Error), metadata);
    }
  },

  onAllRows: async (send, metadata, { isActive }, work) => {
    try {
      await send(isActive ? HIDE_NOTHING : `BEGIN; ${HIDE_NOTHING}`);
      const done = await work();
      if (!isActive) await send('COMMIT');
      return done;
    } catch (error) {
      if (!isActive) await send('ROLLBACK').catch(() => undefined);
      throw explainHiddenRows(error, metadata);
    }
  },
};

/** The function of PostgreSQL that refuses. Its message is in the language of the server. */
const REFUSED_BY = 'check_enable_rls';

function explainHiddenRows(error: unknown, { name, tablePath }: EntityMetadata): unknown {
  const { code, routine } = (driverError(error) ?? {}) as { code?: unknown; routine?: unknown };
  if (code !== '42501' || routine !== REFUSED_BY) return error;
  return new ConfigurationError(
    `${name}: row-level security would hide rows of ${tablePath} from this database role, and this takes ` +
      'all of them: what rows that it does not see need would be taken for unneeded. Use a role with BYPASSRLS, ' +
      'or the owner of the table where there is no FORCE ROW LEVEL SECURITY.',
    { entity: name, cause: error },
  );
}
