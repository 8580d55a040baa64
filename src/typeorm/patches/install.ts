import type { Installation } from '../installation/installation';

import { checkForeignStatements, installDriverCodec } from './driver-codec';
import { recordCreatedKeys } from './ending-transactions';
import { redactFailingRows } from './failing-rows';
import { knowHydratedRows } from './hydration';
import { installLifecycle } from './lifecycle';
import { patchQueryBuilder } from './query-builder';
import { redactCriteria } from './redacted-criteria';
import {
  checkComparedValues,
  leaveOmittedOut,
  noteSavedRows,
  prepareKeysBeforeSaving,
} from './saving';
import { installOwnMetadata, installSchemaBuilder } from './schema-builder';
import { patchSelectQueryBuilder } from './select-query-builder';
import { checkKeysOfStatements } from './sent-statements';
import { patchWriteQueryBuilders } from './write-query-builders';

let isPatched = false;

/**
 * Patches the classes of TypeORM, once in a process and not before a DataSource needs it. A patched method
 * does what it did before for a DataSource that is not wrapped, so it is never restored, and patches that
 * others apply later stay.
 */
export function patchTypeorm(): void {
  if (isPatched) return;
  isPatched = true;
  patchQueryBuilder();
  patchSelectQueryBuilder();
  patchWriteQueryBuilders();
  redactCriteria();
  checkComparedValues();
  checkKeysOfStatements();
  recordCreatedKeys();
  prepareKeysBeforeSaving();
  noteSavedRows();
  leaveOmittedOut();
  knowHydratedRows();
}

/** Patches one DataSource, its driver and its schema builders. */
export function patchDataSource(installation: Installation): void {
  installOwnMetadata(installation.dataSource);
  installLifecycle(installation);
  installSchemaBuilder(installation);
  installDriverCodec(installation);
  checkForeignStatements(installation);
  redactFailingRows(installation);
}
