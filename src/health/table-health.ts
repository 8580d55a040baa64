import { ConfigurationError } from '../errors';
import { encryptedTables } from '../reencryption/encrypted-table';
import { DataKeySchema } from '../typeorm/data-key-table';
import type { Installation } from '../typeorm/installation';
import { tableExists } from '../typeorm/table-access';
import { withConnection } from '../typeorm/with-connection';
import type { TableHealth } from './health-report';

/**
 * Looks for the key table and the tables of encrypted entities.
 *
 * @throws {@link ConfigurationError} for a key table that the role may not read; what the database throws
 */
export async function tableHealth(installation: Installation): Promise<TableHealth> {
  const { dataSource } = installation;
  const keyTable = dataSource.getMetadata(DataKeySchema).tablePath;
  const others = encryptedTables(installation).map(({ metadata }) => metadata.tablePath);
  return withConnection(dataSource, undefined, async (runner) => {
    const missing: string[] = [];
    if (!(await tableExists(runner, keyTable))) missing.push(keyTable);
    for (const path of others) {
      // A role that may not read one of them is often not meant to.
      if (!(await tableExists(runner, path).catch(isThere))) missing.push(path);
    }
    return { ok: missing.length === 0, missing };
  });
}

function isThere(error: unknown): boolean {
  if (error instanceof ConfigurationError) return true;
  throw error;
}
