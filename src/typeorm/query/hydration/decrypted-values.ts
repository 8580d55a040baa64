import type { ValueUse } from '../../installation/value-use';
import { countValues } from '../../installation/value-use';

import { keyText } from './key-text';
import { rawName } from './raw-result';
import type { RawResult, Row } from './raw-result';

/** Counts the values of a result that are decrypted. A join repeats rows, whose values count once. */
export function decryptedValues(result: RawResult): ValueUse[] {
  const { columns, expressions, rows } = result;
  const isJoined = expressions.aliases.length > 1;
  const distinct = new Map<string, readonly Row[]>();
  return columns.map(([key, encrypted, alias]) => {
    let counted = isJoined ? distinct.get(alias) : rows;
    if (counted === undefined) {
      const { primaryColumns } = encrypted.column.entityMetadata;
      const { driver } = result.installation.dataSource;
      counted = distinctRows(
        rows,
        primaryColumns.map((primary) => rawName(driver, alias, primary)),
      );
      distinct.set(alias, counted);
    }
    return [encrypted, countValues(counted, (row) => row[key])];
  });
}

/** Returns the first row of each primary key, and all those without one. */
function distinctRows(rows: readonly Row[], names: readonly string[]): Row[] {
  const seen = new Set<string>();
  return rows.filter((row) => {
    if (names.some((name) => row[name] === undefined)) return true;
    const id = JSON.stringify(names.map((name) => keyText(row[name])));
    if (seen.has(id)) return false;
    seen.add(id);
    return true;
  });
}
