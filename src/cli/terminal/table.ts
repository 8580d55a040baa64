import Table from 'cli-table3';

/**
 * Control characters, which include the escape sequences of terminals, and marks that reverse the
 * direction of text; without the line break and the tab.
 */
const HIDDEN =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g;

/** Escapes hidden characters: text from a database must not control the terminal. */
export function visible(text: string): string {
  return text.replace(HIDDEN, escaped);
}

/** Escapes line breaks and tabs as well. */
function visibleInLine(text: string): string {
  return visible(text).replace(/[\t\n]/g, escaped);
}

/** Escapes a character as JSON does, of which it may be part. */
function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

/** Columns of a terminal that does not say how wide it is. */
const DEFAULT_WIDTH = 80;

/** Returns how long lines may be: in a pipe or a file as long as they are, unless COLUMNS is set. */
function lineWidth(): number {
  const { columns, isTTY } = process.stdout;
  return (isTTY && columns) || Number(process.env['COLUMNS']) || (isTTY ? DEFAULT_WIDTH : Infinity);
}

/**
 * Lays out rows in columns, without colours, to be piped and pasted. Where they are too long for a line, rows come
 * one below the other, each value behind the name of its column.
 */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const width = lineWidth();
  const cells = rows.map((row) => row.map(visibleInLine));
  const text = inColumns(head, cells);
  const isTooWide = text.split('\n').some((line) => line.length > width);
  return isTooWide ? cells.map((row) => inLines(head, row, width)).join('\n') : text;
}

function inColumns(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = new Table({
    head: [...head],
    style: { head: [], border: [], compact: true, 'padding-left': 0, 'padding-right': 1 },
    chars: {
      ...{ top: '', 'top-mid': '', 'top-left': '', 'top-right': '' },
      ...{ bottom: '', 'bottom-mid': '', 'bottom-left': '', 'bottom-right': '' },
      ...{ left: '', 'left-mid': '', right: '', 'right-mid': '' },
      ...{ mid: '', 'mid-mid': '', middle: ' ' },
    },
  });
  for (const row of rows) lines.push([...row]);
  return lines.toString().replace(/[ \t]+$/gm, '');
}

/** Fills lines with a row, `NAME: value` by `NAME: value`; those after the first are indented. */
function inLines(head: readonly string[], row: readonly string[], width: number): string {
  const lines: string[] = [];
  for (const [at, value] of row.entries()) {
    if (value === '') continue;
    const part = `${head[at] ?? ''}: ${value}`;
    const longer = `${lines.at(-1) ?? ''}  ${part}`;
    if (lines.length === 0) lines.push(part);
    else if (longer.length <= width) lines[lines.length - 1] = longer;
    else lines.push(`  ${part}`);
  }
  return lines.join('\n');
}
