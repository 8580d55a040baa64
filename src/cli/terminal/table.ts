import Table from 'cli-table3';

/**
 * Control characters, among them what terminals take for commands, and marks that reverse the direction
 * of text. Without the line break and the tabulator.
 */
const HIDDEN =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g;

/** A text whose every character shows: what comes from a database must not drive the terminal. */
export function visible(text: string): string {
  return text.replace(HIDDEN, escaped);
}

/** The same of a value that is to stay on its line. */
function visibleInLine(text: string): string {
  return visible(text).replace(/[\t\n]/g, escaped);
}

/** As in JSON, of which it is a part as well. */
function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

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
