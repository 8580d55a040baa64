import type { PageDialect } from '../page-sql';
import type { WorkCell } from '../work-table';

/**
 * Compares rows column by column, and first of all by the first column alone: the comparison of whole rows uses no
 * index, nor do alternatives that have nothing in common.
 */
export const compared: PageDialect['compared'] = (keys, operator, bound) => {
  const strict = operator === '<=' ? '<' : operator;
  const from = (at: number, [cell, ...rest]: readonly WorkCell[]): string => {
    if (cell === undefined) return 'TRUE';
    const compare = (by: string): string => `${cell.name} ${by} ${bound(cell, at)}`;
    if (rest.length === 0) return compare(operator);
    return `(${compare(strict)} OR (${compare('=')} AND ${from(at + 1, rest)}))`;
  };
  const [first, ...rest] = keys;
  if (first === undefined || rest.length === 0) return from(0, keys);
  return `${first.name} ${strict}= ${bound(first, 0)} AND ${from(0, keys)}`;
};
