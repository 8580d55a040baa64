import type { SchemaChanges } from '../schema-changes';

export const mysqlSchema: SchemaChanges = {
  expandColumns: () => Promise.reject(new Error('to come')),
  changeChecks: () => Promise.reject(new Error('to come')),
};
