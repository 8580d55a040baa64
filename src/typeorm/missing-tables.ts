import type { DataSource } from 'typeorm';
import { tableExists } from './table-access';
import { withConnection } from './with-connection';

/**
 * Which of these tables the database does not have.
 *
 * @throws {@link ConfigurationError} for one that the role may not read
 */
export async function missingTables(
  dataSource: DataSource,
  tablePaths: readonly string[],
): Promise<string[]> {
  return withConnection(dataSource, undefined, async (runner) => {
    const missing: string[] = [];
    for (const path of tablePaths) {
      if (!(await tableExists(runner, path))) missing.push(path);
    }
    return missing;
  });
}
