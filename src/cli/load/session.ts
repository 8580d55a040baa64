import type { DataSource, Logger } from 'typeorm';

import { runAs } from '../../audit/actor';

import { fieldEncryption } from '../../field-encryption';
import type { FieldEncryption } from '../../field-encryption';
import { installationOf } from '../../typeorm/installation/installations';
import type { Installation } from '../../typeorm/installation/installation';
import type { Output } from '../terminal/output';

import { loadDataSource } from './data-source-module';

/** The connected DataSource that a command works with. */
export interface Session {
  readonly dataSource: DataSource;
  /** Module that exports it, as the command line named it. */
  readonly dataSourcePath: string;
  readonly installation: Installation;
  readonly fieldEncryption: FieldEncryption;
  readonly output: Output;
}

/** How a command connects. */
interface SessionOptions {
  /** Module that exports the DataSource. */
  readonly path: string;
  /** Whether TypeORM logs as the DataSource says. */
  readonly verbose: boolean;
  /** The approver who asks for what needs approval. */
  readonly requester: string | undefined;
}

/**
 * Connects the DataSource that a module exports, runs `work`, and disconnects.
 *
 * Connecting changes nothing: schema synchronization and migrations of the DataSource are turned off,
 * and no key is created.
 */
export async function withSession<T>(
  { path, verbose, requester }: SessionOptions,
  output: Output,
  work: (session: Session) => Promise<T>,
): Promise<T> {
  const dataSource = await loadDataSource(path);
  const installation = installationOf(dataSource);
  if (!verbose) silenceStatements(dataSource);
  await connect(dataSource, installation);
  try {
    const session = {
      ...{ dataSource, dataSourcePath: path, installation, output },
      fieldEncryption: fieldEncryption(dataSource),
    };
    const asked = requester === undefined ? {} : { requester };
    const actor = { id: installation.audit.actor(), roles: ['command-line'], ...asked };
    return await runAs(actor, () => work(session));
  } finally {
    await disconnect(dataSource);
  }
}

/**
 * Keeps TypeORM's loggers from burying the result in statements; warnings of this library stay. Leaves
 * the options as they are, which the doctor judges, and a logger that the application wrote itself.
 */
function silenceStatements(dataSource: DataSource): void {
  if (typeof dataSource.options.logger === 'object') return;
  const { logger } = dataSource;
  const ignore = (): void => undefined;
  dataSource.logger = {
    logQuery: ignore,
    logQueryError: ignore,
    logQuerySlow: ignore,
    logSchemaBuild: ignore,
    logMigration: ignore,
    log: (level, ...message) => {
      if (level === 'warn') logger.log(level, ...message);
    },
  } satisfies Logger;
}

async function connect(dataSource: DataSource, installation: Installation): Promise<void> {
  if (dataSource.isInitialized) return;
  dataSource.setOptions({ synchronize: false, migrationsRun: false, dropSchema: false });
  installation.preparesAtStart = false;
  await dataSource.initialize();
}

async function disconnect(dataSource: DataSource): Promise<void> {
  try {
    await dataSource.destroy();
  } catch {
    // The work is done, or failed for a reason of its own that matters more.
  }
}
