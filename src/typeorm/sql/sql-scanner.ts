import { asName, isKeyword, isSymbol, selectsAfter, withNames } from './sql-nodes';
import type { GroupNode, ScannedSql, SqlNode } from './sql-nodes';

/** Deeper than people write; deeper groups become part of the group at this depth. */
const MAX_DEPTH = 200;

const WORD = /[\p{L}_][\p{L}\p{N}_$]*/uy;
const DOT = /\s*\.\s*/y;
/** The quotes of names; SQLite takes strings for names where only a name can stand. */
const QUOTE = /["`']/;
const NUMBER = /\d[\w.]*/y;
const PARAMETER = /:(?:\.\.\.)?[\w.]+/y;
const CAST = /::\s*[\w".]+/y;
/** The rest of a type after its first word: left there, it would be an alias, or make a name a function. */
const TYPE_REST =
  /(?:varying|precision|char(?:acter)?|with(?:out)?\s+time\s+zone)\b|\([\d\s,]*\)/iy;
const BLANKS = /\s+/y;
const DOLLAR_QUOTE = /\$(?:[\p{L}_][\p{L}\p{N}_]*)?\$/uy;

/** Keywords that a name follows, even as a string. */
const BEFORE_NAME = ['from', 'join', 'into', 'update', 'only', 'table', 'as'];

/** Parses SQL into nodes, in one pass. Leaves out comments and casts. */
export function sqlNodes(sql: string): readonly SqlNode[] {
  return scannedSql(sql).nodes;
}

/** {@link sqlNodes}, and whether that is all. */
export function scannedSql(sql: string): ScannedSql {
  return new SqlScanner(sql).scan();
}

class SqlScanner {
  readonly #sql: string;
  readonly #open: SqlNode[][] = [[]];
  #at = 0;
  /** How many open groups are too deep to be nodes. */
  #tooDeep = 0;
  /** Whether a quotation or comment has no end: the rest is taken for SQL, so that it hides no name. */
  #isUnclosed = false;
  #isWhole = true;

  constructor(sql: string) {
    this.#sql = sql;
  }

  scan(): ScannedSql {
    while (this.#at < this.#sql.length) this.#next();
    const isWhole = this.#isWhole && !this.#isUnclosed && this.#open.length === 1;
    while (this.#open.length > 1) this.#close();
    return { nodes: this.#nodes, isWhole };
  }

  get #nodes(): SqlNode[] {
    return this.#open[this.#open.length - 1] ?? [];
  }

  #next(): void {
    if (/\s/.test(this.#sql.charAt(this.#at))) this.#at += 1;
    else if (!this.#quotation() && !this.#name()) this.#other();
  }

  /** Steps over a string, a comment, or a cast, whose type is not a column. */
  #quotation(): boolean {
    if (this.#isUnclosed) return false;
    switch (this.#sql.charAt(this.#at)) {
      case "'":
        return this.#string(this.#at);
      case 'e':
      case 'E':
        return this.#sql.charAt(this.#at + 1) === "'" && this.#string(this.#at + 1, '\\');
      case '$':
        return this.#dollarQuoted();
      case '-':
        return this.#comment('--', '\n');
      case '/':
        return this.#comment('/*', '*/');
      case ':':
        return this.#cast();
      default:
        return false;
    }
  }

  #string(start: number, escape?: string): boolean {
    const end = this.#endOfQuoted(start, escape);
    if (end === undefined) return this.#neverClosed();
    if (escape === undefined && this.#isNamed(end)) return this.#name();
    this.#at = end;
    const text = escape === undefined ? this.#sql.slice(start, end - 1) : '';
    this.#nodes.push({ kind: 'value', text });
    return true;
  }

  /** Whether the string up to an end stands where only a name can. */
  #isNamed(end: number): boolean {
    DOT.lastIndex = end;
    const [before, last] = [this.#nodes.at(-2), this.#nodes.at(-1)];
    if (DOT.test(this.#sql) || isSymbol(last, '.')) return true;
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

  /** Finds the end of what is quoted from a place on. A quote within is doubled. */
  #endOfQuoted(start: number, escape?: string): number | undefined {
    const quote = this.#sql.charAt(start);
    for (let at = start + 1; at < this.#sql.length; at++) {
      const character = this.#sql.charAt(at);
      if (character === escape) at += 1;
      else if (character === quote) {
        if (this.#sql.charAt(at + 1) !== quote) return at + 1;
        at += 1;
      }
    }
    return undefined;
  }

  #dollarQuoted(): boolean {
    const start = this.#at;
    const tag = this.#take(DOLLAR_QUOTE);
    if (tag === undefined) return false;
    const end = this.#sql.indexOf(tag, this.#at);
    this.#at = end < 0 ? start : end + tag.length;
    if (end < 0) return this.#neverClosed();
    this.#nodes.push({ kind: 'value', text: '' });
    return true;
  }

  #comment(begin: string, end: string): boolean {
    if (!this.#sql.startsWith(begin, this.#at)) return false;
    this.#isWhole = false;
    const found = this.#sql.indexOf(end, this.#at + begin.length);
    if (found < 0 && end !== '\n') return this.#neverClosed();
    // PostgreSQL nests comments and SQLite does not, so that they end in different places.
    if (begin === '/*' && this.#sql.slice(this.#at + 2, found).includes(begin)) {
      return this.#neverClosed();
    }
    this.#at = found < 0 ? this.#sql.length : found + end.length;
    return true;
  }

  #cast(): boolean {
    if (this.#take(CAST) === undefined) return false;
    const last = this.#nodes.pop();
    if (last?.kind === 'name') this.#nodes.push({ ...last, isCast: true });
    else if (last !== undefined) this.#nodes.push(last);
    while (
      (this.#take(BLANKS) ?? this.#take(TYPE_REST)) !== undefined ||
      this.#comment('--', '\n') ||
      this.#comment('/*', '*/')
    );
    return true;
  }

  #neverClosed(): false {
    this.#isUnclosed = true;
    return false;
  }

  #name(): boolean {
    const start = this.#at;
    const first = this.#namePart();
    if (first === undefined) return false;
    const parts = [first];
    let end = this.#at;
    while (this.#take(DOT) !== undefined) {
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
    return (this.#quotedName() ?? this.#take(WORD))?.toLowerCase();
  }

  #quotedName(): string | undefined {
    const start = this.#at;
    const quote = this.#sql.charAt(start);
    if (this.#isUnclosed || !QUOTE.test(quote)) return undefined;
    const end = this.#endOfQuoted(start);
    this.#isUnclosed = end === undefined;
    if (end === undefined) return undefined;
    this.#at = end;
    return this.#sql.slice(start + 1, end - 1).replaceAll(quote + quote, quote);
  }

  #other(): void {
    const from = this.#at;
    const parameter = this.#take(PARAMETER);
    if (parameter !== undefined)
      return void this.#nodes.push({ kind: 'parameter', text: parameter, from });
    const number = this.#take(NUMBER);
    if (number !== undefined) return void this.#nodes.push({ kind: 'value', text: number });
    const text = this.#sql.charAt(this.#at);
    this.#at += 1;
    if (text === '(') this.#begin();
    else if (text === ')') this.#close();
    else if (text === '=') {
      this.#nameAssigned();
      this.#nodes.push({ kind: 'symbol', text });
    } else if (text === '*' && selectsAfter(this.#nodes.at(-1))) {
      this.#nodes.push({ kind: 'star', qualifier: undefined });
      // SQLite has brackets around names, and PostgreSQL after names of arrays.
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
    form.lastIndex = this.#at;
    const found = form.exec(this.#sql)?.[0];
    if (found !== undefined) this.#at += found.length;
    return found;
  }
}
