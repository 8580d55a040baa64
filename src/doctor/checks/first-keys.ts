import type { EntitySchema, QueryRunner } from 'typeorm';

import { encryptedTables } from '../../reencryption/encrypted-table';
import type { Right } from '../../typeorm/dialect/database-catalog';
import { catalogOf } from '../../typeorm/dialect/dialect-of';
import type { Installation } from '../../typeorm/installation/installation';
import { DataKeySchema } from '../../typeorm/tables/data-key-table';
import { AuditSchema } from '../../typeorm/tables/typeorm-audit-store';
import type { AbsentKey } from '../absent-keys';
import { finding } from '../finding';
import type { Finding } from '../finding';

import { mayHide } from './own-tables';

/** Reports keys that were never made, and whether anything has to be done about it. */
export async function neverMade(
  installation: Installation,
  absent: readonly AbsentKey[],
  runner: QueryRunner,
): Promise<Finding[]> {
  const keys = absent.filter(({ lost }) => lost === undefined);
  if (keys.length === 0) return [];
  const remedy = (await makesKeys(installation, runner))
    ? 'Nothing has to be done: this role may make it, and does with the first use. `field-encryption init` makes it now.'
    : 'This role may not make it: run `field-encryption init` as the owner of the tables.';
  return keys.map(({ title }) => finding('KEY_MISSING', `There is no ${title} yet.`, remedy));
}

/** Whether the role may make first keys: before it does, it has to see that no row needs an earlier one. */
async function makesKeys(installation: Installation, runner: QueryRunner): Promise<boolean> {
  const { dataSource, options } = installation;
  const may = async (schema: EntitySchema, ...needed: Right[]): Promise<boolean> => {
    const granted = await catalogOf(runner).rights(runner, dataSource.getMetadata(schema));
    return needed.every((right) => granted?.has(right) === true);
  };
  if (!(await may(DataKeySchema, 'SELECT', 'INSERT'))) return false;
  if (options.audit !== false && !(await may(AuditSchema, 'SELECT', 'INSERT'))) return false;
  for (const { name } of encryptedTables(installation)) {
    if (await mayHide(runner, name)) return false;
  }
  return true;
}
