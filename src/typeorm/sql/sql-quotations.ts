import type { LexicalRules, Quotation } from '../dialect/lexical-rules';

/** A string or a quoted name in SQL. */
export interface Quoted {
  readonly isName: boolean;
  /** What is quoted, without its quotes. */
  readonly text: string;
  /** The place after it. */
  readonly end: number;
}

/** Returns what an expression matches at a place. */
export function matchAt(form: RegExp | undefined, sql: string, at: number): string | undefined {
  if (form === undefined) return undefined;
  form.lastIndex = at;
  return form.exec(sql)?.[0];
}

/**
 * Finds the string or quoted name that begins at a place; `undefined` if there is none.
 *
 * @param isAfterEscape - whether ESCAPE stands before it.
 * @returns `unclear` for one without an end, or with one that depends on settings of the server.
 */
export function quotationAt(
  sql: string,
  at: number,
  { quotations, dollarQuote }: LexicalRules,
  isAfterEscape = false,
): Quoted | 'unclear' | undefined {
  for (const quotation of quotations) {
    const begin = matchAt(quotation.begin, sql, at);
    if (begin !== undefined) return quoted(sql, at + begin.length, quotation, isAfterEscape);
  }
  const tag = matchAt(dollarQuote, sql, at);
  if (tag === undefined) return undefined;
  const start = at + tag.length;
  const end = sql.indexOf(tag, start);
  return end < 0
    ? 'unclear'
    : { isName: false, text: sql.slice(start, end), end: end + tag.length };
}

/** Finds the end of a comment between slashes and stars that begins at a place; -1 if there is none. */
export function endOfComment(sql: string, at: number, { nestsComments }: LexicalRules): number {
  const MARK = /\/\*|\*\//g;
  MARK.lastIndex = at + 2;
  let depth = 1;
  for (let mark = MARK.exec(sql); mark !== null; mark = MARK.exec(sql)) {
    if (mark[0] === '*/') depth -= 1;
    else if (nestsComments) depth += 1;
    // Else its star may be that of an end.
    else MARK.lastIndex -= 1;
    if (depth === 0) return MARK.lastIndex;
  }
  return -1;
}

function quoted(
  sql: string,
  start: number,
  { closing, isName, backslash }: Quotation,
  isAfterEscape: boolean,
): Quoted | 'unclear' {
  const last = endOfQuoted(sql, start, closing, backslash === 'escapes');
  if (last === undefined) return 'unclear';
  const between = sql.slice(start, last);
  // ESCAPE takes one character: the server refuses the longer text that '\' would begin if the quote were escaped.
  const isClear = backslash !== 'maybe' || (isAfterEscape && between === '\\');
  if (!isClear && endOfQuoted(sql, start, closing, true) !== last) return 'unclear';
  return { isName, text: between.replaceAll(closing + closing, closing), end: last + 1 };
}

/** Finds the closing quote. */
function endOfQuoted(
  sql: string,
  start: number,
  closing: string,
  escapes: boolean,
): number | undefined {
  for (let at = start; at < sql.length; at++) {
    const character = sql.charAt(at);
    if (escapes && character === '\\') at += 1;
    else if (character === closing) {
      if (sql.charAt(at + 1) !== closing) return at;
      at += 1;
    }
  }
  return undefined;
}
