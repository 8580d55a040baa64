import { COMMON_RULES, PLAIN_STRING, QUOTED_NAME } from '../lexical-rules';
import type { LexicalRules } from '../lexical-rules';

export const postgresRules: LexicalRules = {
  ...COMMON_RULES,
  quotations: [
    { ...PLAIN_STRING, begin: /e'/iy, backslash: 'escapes' },
    // standard_conforming_strings may be off.
    { ...PLAIN_STRING, backslash: 'maybe' },
    QUOTED_NAME,
  ],
  dollarQuote: /\$(?:[A-Za-z_\u0080-\uffff][\w\u0080-\uffff]*)?\$/y,
  lineComment: /--[^\n\r]*/y,
  nestsComments: true,
  hasCasts: true,
  // Their characters may be written by their numbers.
  hiddenNames: { form: /\bu&"/i, called: 'a name written as U&"…"' },
};
