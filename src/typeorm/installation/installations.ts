import type { DataSource } from 'typeorm';

import { ConfigurationError } from '../../errors';
import { ONE_COPY } from '../declare/column-guard';

import type { Installation } from './installation';

const installations = new WeakMap<DataSource, Installation>();
/** Marks a wrapped DataSource, for all copies of this library. */
const WRAPPED = Symbol.for('typeorm-field-encryption:wrapped');

/** Returns the installation behind a DataSource. Throws for one that is not wrapped. */
export function installationOf(dataSource: DataSource): Installation {
  const installation = installations.get(dataSource);
  if (installation !== undefined) return installation;
  assertNotWrappedByOther(dataSource);
  throw new ConfigurationError(
    'This DataSource has no field encryption. Pass it through withFieldEncryption(dataSource, options) ' +
      'before initialize().',
  );
}

/** Whether `withFieldEncryption` has wrapped the DataSource. */
export function isInstalled(dataSource: DataSource): boolean {
  return installations.has(dataSource);
}

/** Throws for a DataSource that another copy of this library has wrapped. */
export function assertNotWrappedByOther(dataSource: DataSource): void {
  if (!(WRAPPED in dataSource) || isInstalled(dataSource)) return;
  throw new ConfigurationError(
    `The DataSource was wrapped by another copy of typeorm-field-encryption. ${ONE_COPY}`,
  );
}

/** Makes an installation that of its DataSource, and returns it. */
export function register(installation: Installation): Installation {
  const { dataSource } = installation;
  installations.set(dataSource, installation);
  Object.defineProperty(dataSource, WRAPPED, { value: true });
  return installation;
}
