import type { Installation } from '../installation/installation';
import { patchSelectQueryBuilder } from './select-query-builder';
import { patchWriteQueryBuilders } from './write-query-builders';

import { installDriverCodec } from './driver-codec';
import { leaveOutFailingRows } from './failing-rows';
import { installLifecycle } from './lifecycle';
import { redactCriteria } from './redacted-criteria';
import { checkComparedValues, prepareKeysBeforeSaving } from './saving';
import { installOwnMetadata, installSchemaBuilder } from './schema-builder';
import { checkKeysOfStatements } from './sent-statements';

let isPatched = false;

/**
 * Changes the classes of TypeORM, once in a process and not before a DataSource needs it. What is
 * changed looks at the DataSource it works for, and does what it did before for one that is not
 * wrapped: so nothing is ever put back, and what others have laid over it meanwhile stays.
 */
export function patchTypeorm(): void {
  if (isPatched) return;
  isPatched = true;
  patchSelectQueryBuilder();
  patchWriteQueryBuilders();
  redactCriteria();
  checkComparedValues();
  checkKeysOfStatements();
  prepareKeysBeforeSaving();
}

/** Changes the methods of one DataSource, of its driver and of its schema builders. */
export function patchDataSource(installation: Installation): void {
  installOwnMetadata(installation.dataSource);
  installLifecycle(installation);
  installSchemaBuilder(installation);
  installDriverCodec(installation);
  leaveOutFailingRows(installation);
}
