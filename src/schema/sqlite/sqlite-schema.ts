import type { SchemaChanges } from '../schema-changes';

import { expandColumns } from './expand';

export const sqliteSchema: SchemaChanges = {
  expandColumns,
  changeChecks: async ({ runner, table }, { missing, outdated }) => {
    const { tablePath } = table.metadata;
    if (outdated.length > 0) await runner.dropCheckConstraints(tablePath, [...outdated]);
    if (missing.length > 0) await runner.createCheckConstraints(tablePath, [...missing]);
    return [];
  },
};
