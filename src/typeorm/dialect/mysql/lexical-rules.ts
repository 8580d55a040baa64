import { BACKTICKED_NAME, COMMON_RULES, PLAIN_STRING } from '../lexical-rules';
import type { LexicalRules, Quotation } from '../lexical-rules';

/** Backslashes escape unless sql_mode has NO_BACKSLASH_ESCAPES. */
const STRING: Quotation = { ...PLAIN_STRING, backslash: 'maybe' };

/** A string, or a name if sql_mode has ANSI_QUOTES, in which a backslash is one. */
const STRING_OR_NAME: Quotation = { ...STRING, begin: /"/y, closing: '"', isName: true };

export const mysqlRules: LexicalRules = {
  blanks: COMMON_RULES.blanks,
  // A name may begin with digits, and a number ends where no name can go on: `1from` is one, `1e5from` is not.
  number:
    /(?:0x[\da-fA-F]+|0b[01]+)(?![\w$\u0080-\uffff])|\d+[eE][+-]?\d+|(?:\d+(?![\w$\u0080-\uffff])(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?/y,
  word: /[\w$\u0080-\uffff]+/y,
  joinsOverGaps: false,
  quotations: [STRING, STRING_OR_NAME, BACKTICKED_NAME],
  // Two dashes are two signs before what can be seen.
  lineComment: /(?:#|--(?![!-~\u0080-\uffff]))[^\n]*/y,
  nestsComments: false,
  hasCasts: false,
  // Comments that are executed, hints with quotes, the braces of ODBC, rows of other times, and words of SELECT that other
  // databases do not have.
  unclear:
    /\/\*M?!|\/\*\+(?:(?!\*\/)[^])*["'`]|\{|(?:straight_join|system_time|distinctrow|high_priority|sql_(?:(?:no_)?cache|calc_found_rows|(?:small|big|buffer)_result))(?![\w$\u0080-\uffff])/iy,
  // The driver puts a name there, also within quotes.
  hiddenNames: { form: /\?\?/, called: 'the placeholder ??' },
};
