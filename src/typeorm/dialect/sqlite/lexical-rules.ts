import { BACKTICKED_NAME, COMMON_RULES, PLAIN_STRING, QUOTED_NAME } from '../lexical-rules';
import type { LexicalRules } from '../lexical-rules';

export const sqliteRules: LexicalRules = {
  ...COMMON_RULES,
  // A byte order mark is white space where no name goes on.
  blanks: /[ \t\n\v\f\r\ufeff]+/y,
  quotations: [
    PLAIN_STRING,
    QUOTED_NAME,
    BACKTICKED_NAME,
    { ...QUOTED_NAME, begin: /\[/y, closing: ']' },
  ],
  lineComment: /--[^\n]*/y,
  nestsComments: false,
  hasCasts: false,
  // Parentheses right after a parameter are part of its name, with any quotes between them.
  unclear: /(?<![\w$:@#])[$@#:][\w$:@#\u0080-\uffff]+\(/y,
};
