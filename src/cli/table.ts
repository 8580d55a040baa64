import Table from 'cli-table3';
import { visibleInLine } from './visible';

/** Lays rows out in columns, without colours: output is piped and pasted. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = new Table({
    head: [...head],
    style: { head: [], border: [], compact: true },
    chars: {
      ...{ top: '', 'top-mid': '', 'top-left': '', 'top-right': '' },
      ...{ bottom: '', 'bottom-mid': '', 'bottom-left': '', 'bottom-right': '' },
      ...{ left: '', 'left-mid': '', right: '', 'right-mid': '' },
      ...{ mid: '', 'mid-mid': '', middle: ' ' },
    },
  });
  for (const row of rows) lines.push(row.map(visibleInLine));
  return lines.toString().replace(/[ \t]+$/gm, '');
}
