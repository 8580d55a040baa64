import type { SchemaChanges } from '../schema-changes';

import { addIndexes } from './add-indexes';
import { changeChecks } from './change-checks';
import { expandColumns } from './expand';

export const mysqlSchema: SchemaChanges = { expandColumns, addIndexes, changeChecks };
