import type { DataSource } from 'typeorm';
import { hasTable } from './live-columns';
import { withConnection } from './with-connection';

/** Which of these tables the database does not have. */
export async function missingTables(
  dataSource: DataSource,
  tablePaths: readonly string[],
): Promise<string[]> {
  return withConnection(dataSource, undefined, async (runner) => {
    const missing: string[] = [];
    for (const path of tablePaths) {
      if (!(await hasTable(runner, path))) missing.push(path);
    }
    return missing;
  });
}
