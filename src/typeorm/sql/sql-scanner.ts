import type { LexicalRules } from '../dialect/lexical-rules';

import { asName, isKeyword, isSymbol, selectsAfter, withNames } from './sql-nodes';
import type { GroupNode, ScannedSql, SqlNode } from './sql-nodes';
import { endOfComment, matchAt, quotationAt } from './sql-quotations';
import type { Quoted } from './sql-quotations';

/** Deeper than people write; deeper groups become part of the group at this depth. */
const MAX_DEPTH = 200;

const QUOTE = /["'`[\]]/;
const PARAMETER = /:(?:\.\.\.)?[\w.]+/y;
const DOT = /\./y;
/** Not the one that a number begins with. */
const DOT_AFTER_GAP = /\.(?!\d)/y;
const CAST = /::/y;
/** The rest of a type after its first word: left there, it would be an alias, or make a name a function. */
const TYPE_REST =
  /(?:varying|precision|char(?:acter)?|with(?:out)?\s+time\s+zone)\b|\([\d\s,]*\)/iy;

/** Keywords that a name follows, even as a string. */
const BEFORE_NAME = ['from', 'join', 'into', 'update', 'only', 'table', 'as'];

/** Parses SQL into nodes, in one pass. Leaves out comments and casts. */
export function sqlNodes(sql: string, rules: LexicalRules): readonly SqlNode[] {
  return scannedSql(sql, rules).nodes;
}

/** {@link sqlNodes}, and whether that is all. */
export function scannedSql(sql: string, rules: LexicalRules): ScannedSql {
  return new SqlScanner(sql, rules).scan();
}

class SqlScanner {
  readonly #sql: string;
  readonly #rules: LexicalRules;
  readonly #open: SqlNode[][] = [[]];
  #at = 0;
  /** How many open groups are too deep to be nodes. */
  #tooDeep = 0;
  /** Whether quotes and comments have been what they seem. From then on they hide no name. */
  #isClear = true;
  #isWhole = true;

  constructor(sql: string, rules: LexicalRules) {
    this.#sql = sql;
    this.#rules = rules;
  }

  scan(): ScannedSql {
    while (this.#at < this.#sql.length) this.#next();
    const isClear = this.#isClear;
    const isWhole = this.#isWhole && isClear && this.#open.length === 1;
    while (this.#open.length > 1) this.#close();
    return { nodes: this.#nodes, isWhole, isClear };
  }

  get #nodes(): SqlNode[] {
    return this.#open[this.#open.length - 1] ?? [];
  }

  #next(): void {
    const wasClear = this.#isClear;
    if (this.#gap() || this.#string() || this.#cast() || wasClear !== this.#isClear) return;
    const number = this.#take(this.#rules.number);
    if (number !== undefined) this.#nodes.push({ kind: 'value', text: number });
    else if (!this.#name()) this.#other();
  }

  /** Steps over white space and comments; and over quotes where it is not clear what they quote. */
  #gap(): boolean {
    const start = this.#at;
    while (
      this.#take(this.#rules.blanks) !== undefined ||
      (this.#staysClear() ? this.#comment() : this.#quote())
    );
    return this.#at > start;
  }

  #staysClear(): boolean {
    this.#isClear &&= matchAt(this.#rules.unclear, this.#sql, this.#at) === undefined;
    return this.#isClear;
  }

  #quote(): boolean {
    const isQuote = QUOTE.test(this.#sql.charAt(this.#at));
    if (isQuote) this.#at += 1;
    return isQuote;
  }

  #comment(): boolean {
    if (this.#take(this.#rules.lineComment) === undefined) {
      if (!this.#sql.startsWith('/*', this.#at)) return false;
      const end = endOfComment(this.#sql, this.#at, this.#rules);
      this.#isClear = end >= 0;
      if (end < 0) return false;
      this.#at = end;
    }
    this.#isWhole = false;
    return true;
  }

  #string(): boolean {
    const found = this.#quotation();
    if (found === undefined || found.isName) return false;
    if (this.#isNamed(found.end)) return this.#name();
    this.#at = found.end;
    this.#nodes.push({ kind: 'value', text: `'${found.text}` });
    return true;
  }

  #quotation(): Quoted | undefined {
    if (!this.#isClear) return undefined;
    const isAfterEscape = isKeyword(this.#nodes.at(-1), 'escape');
    const found = quotationAt(this.#sql, this.#at, this.#rules, isAfterEscape);
    if (found !== 'unclear') return found;
    this.#isClear = false;
    return undefined;
  }

  /** Whether the string up to an end stands where only a name can. */
  #isNamed(end: number): boolean {
    const start = this.#at;
    this.#at = end;
    const isQualifier = this.#dot();
    this.#at = start;
    const [before, last] = [this.#nodes.at(-2), this.#nodes.at(-1)];
    if (isQualifier || isSymbol(last, '.')) return true;
    if (isKeyword(last, 'from') && isKeyword(before, 'distinct')) return false;
    return isKeyword(last, ...BEFORE_NAME);
  }

  /** Turns the target of an assignment into a name, even a string. */
  #nameAssigned(): void {
    const nodes = this.#nodes;
    const [before, last] = [nodes.at(-2), nodes.at(-1)];
    if (last === undefined || !(isSymbol(before, ',') || isKeyword(before, 'set'))) return;
    nodes[nodes.length - 1] = last.kind === 'group' ? withNames(last) : asName(last);
  }

  /** Steps over a cast, whose type is not a column. */
  #cast(): boolean {
    if (!this.#rules.hasCasts || !this.#isClear || this.#take(CAST) === undefined) return false;
    const last = this.#nodes.pop();
    if (last?.kind === 'name') this.#nodes.push({ ...last, isCast: true });
    else if (last !== undefined) this.#nodes.push(last);
    this.#gap();
    if (this.#name()) this.#nodes.pop();
    while (this.#gap() || this.#take(TYPE_REST) !== undefined);
    return true;
  }

  #name(): boolean {
    const start = this.#at;
    const first = this.#namePart();
    if (first === undefined) return false;
    const parts = [first];
    let end = this.#at;
    while (this.#dot()) {
      if (this.#sql.charAt(this.#at) === '*') {
        this.#at += 1;
        this.#nodes.push({ kind: 'star', qualifier: parts.join('.') });
        return true;
      }
      const next = this.#namePart();
      if (next === undefined) break;
      parts.push(next);
      end = this.#at;
    }
    this.#at = end;
    const isQuoted = QUOTE.test(this.#sql.slice(start, end));
    this.#nodes.push({ kind: 'name', parts, isQuoted });
    return true;
  }

  #namePart(): string | undefined {
    const quoted = this.#quotation();
    if (quoted !== undefined) this.#at = quoted.end;
    else if (!this.#isClear) this.#gap();
    return (quoted?.text ?? this.#take(this.#rules.word))?.toLowerCase();
  }

  /** Steps over a dot that qualifies a name. */
  #dot(): boolean {
    const start = this.#at;
    const isAfterGap = this.#gap();
    if (this.#take(isAfterGap ? DOT_AFTER_GAP : DOT) === undefined) {
      this.#at = start;
      return false;
    }
    this.#gap();
    this.#isClear &&= !isAfterGap || this.#rules.joinsOverGaps;
    return true;
  }

  #other(): void {
    const from = this.#at;
    const parameter = this.#take(PARAMETER);
    if (parameter !== undefined)
      return void this.#nodes.push({ kind: 'parameter', text: parameter, from });
    const text = this.#sql.charAt(this.#at);
    this.#at += 1;
    if (text === '(') this.#begin();
    else if (text === ')') this.#close();
    else if (text === '=') {
      this.#nameAssigned();
      this.#nodes.push({ kind: 'symbol', text });
    } else if (text === '*' && selectsAfter(this.#nodes.at(-1))) {
      this.#nodes.push({ kind: 'star', qualifier: undefined });
      // Brackets follow the names of arrays.
    } else if (!'[]'.includes(text)) this.#nodes.push({ kind: 'symbol', text });
  }

  #begin(): void {
    if (this.#open.length < MAX_DEPTH) this.#open.push([]);
    else this.#tooDeep += 1;
  }

  #close(): void {
    if (this.#tooDeep > 0) {
      this.#tooDeep -= 1;
      return;
    }
    this.#isWhole &&= this.#open.length > 1;
    if (this.#open.length === 1) return;
    const group: GroupNode = { kind: 'group', nodes: this.#open.pop() ?? [] };
    this.#nodes.push(isKeyword(this.#nodes.at(-1), 'using') ? withNames(group) : group);
  }

  /** Returns what matches a form at this place, and steps over it. */
  #take(form: RegExp): string | undefined {
    const found = matchAt(form, this.#sql, this.#at);
    if (found !== undefined) this.#at += found.length;
    return found;
  }
}
