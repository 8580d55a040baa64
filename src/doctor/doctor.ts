import { describeFailure } from '../health/described-failure';
import type { Installation } from '../typeorm/installation';
import { withConnection } from '../typeorm/with-connection';
import { attempted } from './check';
import { CHECKS } from './checks';
import type { Finding, FindingLevel } from './finding';
import { finding } from './finding';

const ORDER: readonly FindingLevel[] = ['error', 'warning', 'info'];

/** Looks at everything and changes nothing. Never throws: what cannot be looked at is a finding. */
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

/** @throws what the database does when it does not answer */
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
