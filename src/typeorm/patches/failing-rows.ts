import { dialectOf } from '../dialect/dialect-of';
import type { Installation } from '../installation/installation';
import { ScopeKeySchema } from '../tables/scope-key-table';

/**
 * Removes rows with secrets from errors of the database that quote them. This happens before TypeORM has the
 * error, so that no log, subscriber or `driverError` shows them.
 */
export function redactFailingRows({ dataSource, encryptedEntity }: Installation): void {
  dialectOf(dataSource).redactFailingRows?.(dataSource, (table) => {
    const name = String(table).toLowerCase();
    const entities = dataSource.entityMetadatas.filter(
      ({ tableName }) => tableName.toLowerCase() === name,
    );
    const encrypted = entities.flatMap((each) => encryptedEntity(each)?.columns ?? []);
    // A table that no entity maps may hold copies of encrypted rows, and ids of scopes may be those of persons.
    const isOther = entities.every((each) => each.name === ScopeKeySchema.options.name);
    if (encrypted.length === 0 && !isOther) return undefined;
    const names = encrypted.flatMap(({ column, indexes }) =>
      [column, ...indexes.map((each) => each.column)].map(({ databaseName }) => databaseName),
    );
    return (columns) =>
      isOther || names.some((each) => columns.toLowerCase().includes(each.toLowerCase()));
  });
}
