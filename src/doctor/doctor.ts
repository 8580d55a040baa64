import { describeFailure } from '../health/ask-kms';
import { withConnection } from '../typeorm/connection/lent-connection';
import type { Installation } from '../typeorm/installation/installation';

import { approvals } from './checks/approvals';
import { checkConstraints } from './checks/check-constraints';
import { cleartext, wrapping } from './checks/cleartext';
import { columns } from './checks/columns';
import { applicationLog, configuration, serverLog } from './checks/configuration';
import { keys, policies } from './checks/keys';
import { anchor, kmsHealth, passphrase } from './checks/kms';
import { lookups } from './checks/lookups';
import { ownTables, rowSecurity } from './checks/own-tables';
import { packages } from './checks/packages';
import { runtime } from './checks/runtime';
import { storedKeys } from './checks/stored-keys';
import { attempted, finding } from './finding';
import type { Check, DatabaseCheck, Finding, FindingLevel } from './finding';

const ORDER: readonly FindingLevel[] = ['error', 'warning', 'info'];

/** Runs all checks and changes nothing. Never throws: a check that fails is a finding. */
export async function examine(installation: Installation): Promise<Finding[]> {
  const { isInitialized } = installation.dataSource;
  const found = [
    ...(await allOf(CHECKS.process, (check) => check(installation))),
    ...(isInitialized ? await examineInitialized(installation) : [notInitialized()]),
  ];
  return found.toSorted((a, b) => ORDER.indexOf(a.level) - ORDER.indexOf(b.level));
}

async function examineInitialized(installation: Installation): Promise<Finding[]> {
  const found = await allOf(CHECKS.entities, (check) => check(installation));
  try {
    found.push(...(await examineDatabase(installation)));
  } catch (error) {
    return [...found, unreachable(error)];
  }
  return [...found, ...(await allOf(CHECKS.work, (check) => check(installation)))];
}

/** @throws the error of the database if it does not answer */
function examineDatabase(installation: Installation): Promise<Finding[]> {
  return withConnection(installation.dataSource, undefined, async (runner) => {
    await runner.query('SELECT 1');
    return allOf(CHECKS.database, (check) => check(installation, runner));
  });
}

async function allOf<T>(
  checks: Readonly<Record<string, T>>,
  run: (check: T) => readonly Finding[] | Promise<readonly Finding[]>,
): Promise<Finding[]> {
  const found: Finding[] = [];
  for (const [name, check] of Object.entries(checks)) {
    found.push(...(await attempted(name, () => run(check))));
  }
  return found;
}

function unreachable(error: unknown): Finding {
  return finding(
    'DATABASE_UNREACHABLE',
    `The database does not answer: ${describeFailure(error)}`,
    'Check that it runs, and the connection settings and credentials of the DataSource.',
  );
}

function notInitialized(): Finding {
  return finding(
    'NOT_INITIALIZED',
    'The DataSource is not initialized, so that neither entities nor the database were looked at.',
    'Await dataSource.initialize() first.',
  );
}

/**
 * The checks, by their names in `CHECK_FAILED`. Add a new one to the list of what it needs, and its codes
 * to `finding.ts`.
 */
const CHECKS = Object.freeze({
  /** Run in any process. */
  process: {
    configuration,
    'the log of the application': applicationLog,
    'Node.js': runtime,
    packages,
    'the KMS': kmsHealth,
    'the passphrase': passphrase,
  } satisfies Record<string, Check>,

  /** Need the entities of an initialized DataSource. */
  entities: { 'the query builders': wrapping } satisfies Record<string, Check>,

  /** Share one connection: the pool may have no more. */
  database: {
    'the log of the server': serverLog,
    'the tables of the library': ownTables,
    'row-level security': rowSecurity,
    'the keys': keys,
    'the anchor': anchor,
    'the columns': columns,
    'the stored values': cleartext,
    'the keys of stored values': storedKeys,
    'the CHECK constraints': checkConstraints,
    'the indexes': lookups,
  } satisfies Record<string, DatabaseCheck>,

  /** Take connections of their own, from a database that answers. */
  work: { 'the key policies': policies, 'the approvals': approvals } satisfies Record<
    string,
    Check
  >,
});
