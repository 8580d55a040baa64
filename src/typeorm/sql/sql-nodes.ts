/** A name with its qualifiers, such as `"p"."email"`: the parts of it in lower case. */
export interface NameNode {
  readonly kind: 'name';
  readonly parts: readonly string[];
  /** Whether one of the parts is quoted, so that it is no keyword. */
  readonly isQuoted: boolean;
  /** Whether `::` and a type follow, which are no nodes. */
  readonly isCast?: boolean;
}

/** `*` or `p.*` in a list of selections, or in COUNT(*). */
export interface StarNode {
  readonly kind: 'star';
  readonly qualifier: string | undefined;
}

/** What stands in parentheses. */
export interface GroupNode {
  readonly kind: 'group';
  readonly nodes: readonly SqlNode[];
}

/** What names nothing: a value, a parameter, an operator, a comma. Strings begin with their quote. */
export interface OtherNode {
  readonly kind: 'parameter' | 'value' | 'symbol';
  readonly text: string;
}

export type SqlNode = NameNode | StarNode | GroupNode | OtherNode;

/** Deeper than people write; what is deeper still is put into the group at this depth. */
const MAX_DEPTH = 200;

const WORD = /[\p{L}_][\p{L}\p{N}_$]*/uy;
const DOT = /\s*\.\s*/y;
/** SQLite takes strings for names where only a name can stand. */
const QUOTE = /["`']/;
const NUMBER = /\d[\w.]*/y;
const PARAMETER = /:(?:\.\.\.)?[\w.]+/y;
const CAST = /::\s*[\w".]+/y;
/** What follows the first word of a type: left there, it would be an alias, or make a name a function. */
const TYPE_REST =
  /(?:varying|precision|char(?:acter)?|with(?:out)?\s+time\s+zone)\b|\([\d\s,]*\)/iy;
const BLANKS = /\s+/y;
const DOLLAR_QUOTE = /\$(?:[\p{L}_][\p{L}\p{N}_]*)?\$/uy;

/** SQLite has them around names, and PostgreSQL after names of arrays. */
const BRACKETS = '[]';

/** What follows these is a name, even as a string. */
const BEFORE_NAME = ['from', 'join', 'into', 'update', 'only', 'table', 'as'];

/** After these, and at the beginning, `*` selects; elsewhere it multiplies. */
const BEFORE_STAR = new Set(['select', 'distinct', 'all', 'returning']);

/** Takes SQL apart, in one pass: names, and what stands around them. Comments and casts are left out. */
export function sqlNodes(sql: string): readonly SqlNode[] {
  return new SqlScanner(sql).scan();
}

class SqlScanner {
  readonly #sql: string;
  readonly #open: SqlNode[][] = [[]];
  #at = 0;
  /** How many groups at the greatest depth are open that are none. */
  #tooDeep = 0;
  /** A quotation or comment has no end: all that follows is taken for SQL, so that it hides no name. */
  #isUnclosed = false;

  constructor(sql: string) {
    this.#sql = sql;
  }

  scan(): readonly SqlNode[] {
    while (this.#at < this.#sql.length) this.#next();
    while (this.#open.length > 1) this.#close();
    return this.#nodes;
  }

  get #nodes(): SqlNode[] {
    return this.#open[this.#open.length - 1] ?? [];
  }

  #next(): void {
    if (/\s/.test(this.#sql.charAt(this.#at))) this.#at += 1;
    else if (!this.#quotation() && !this.#name()) this.#other();
  }

  /** Strings and comments; casts, whose types are no columns. */
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

  /** What is assigned to is a name, even as a string. */
  #nameAssigned(): void {
    const nodes = this.#nodes;
    const [before, last] = [nodes.at(-2), nodes.at(-1)];
    if (last === undefined || !(isSymbol(before, ',') || isKeyword(before, 'set'))) return;
    nodes[nodes.length - 1] = last.kind === 'group' ? withNames(last) : asName(last);
  }

  /** Where what is quoted from a place on is over. The quote itself stands in it twice. */
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
    if (last !== undefined)
      this.#nodes.push(last.kind === 'name' ? { ...last, isCast: true } : last);
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
    if (end === undefined) {
      this.#neverClosed();
      return undefined;
    }
    this.#at = end;
    return this.#sql.slice(start + 1, end - 1).replaceAll(quote + quote, quote);
  }

  #other(): void {
    const parameter = this.#take(PARAMETER);
    if (parameter !== undefined)
      return void this.#nodes.push({ kind: 'parameter', text: parameter });
    const number = this.#take(NUMBER);
    if (number !== undefined) return void this.#nodes.push({ kind: 'value', text: number });
    const text = this.#sql.charAt(this.#at);
    this.#at += 1;
    if (text === '(') this.#begin();
    else if (text === ')') this.#close();
    else if (text === '=') {
      this.#nameAssigned();
      this.#nodes.push({ kind: 'symbol', text });
    } else if (text === '*' && this.#selects()) {
      this.#nodes.push({ kind: 'star', qualifier: undefined });
    } else if (!BRACKETS.includes(text)) this.#nodes.push({ kind: 'symbol', text });
  }

  #selects(): boolean {
    const before = this.#nodes.at(-1);
    if (before === undefined) return true;
    if (before.kind === 'symbol') return before.text === ',';
    return before.kind === 'name' && BEFORE_STAR.has(before.parts.join('.'));
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
    if (this.#open.length === 1) return;
    const group: GroupNode = { kind: 'group', nodes: this.#open.pop() ?? [] };
    this.#nodes.push(isKeyword(this.#nodes.at(-1), 'using') ? withNames(group) : group);
  }

  /** What stands at this place in one form, and steps over it. */
  #take(form: RegExp): string | undefined {
    form.lastIndex = this.#at;
    const found = form.exec(this.#sql)?.[0];
    if (found !== undefined) this.#at += found.length;
    return found;
  }
}

/** A string as the name that it is where only a name can stand; any other node as it is. */
export function asName<Node extends SqlNode | undefined>(node: Node): Node | NameNode {
  if (node?.kind !== 'value' || !node.text.startsWith("'")) return node;
  return { kind: 'name', parts: [node.text.slice(1).toLowerCase()], isQuoted: true };
}

function withNames({ nodes }: GroupNode): GroupNode {
  return { kind: 'group', nodes: nodes.map((node) => asName(node)) };
}

/** Whether a node is a keyword, or any of some. */
export function isKeyword(node: SqlNode | undefined, ...words: readonly string[]): boolean {
  if (node?.kind !== 'name' || node.isQuoted || node.parts.length > 1) return false;
  return words.includes(node.parts[0] ?? '');
}

export function isSymbol(node: SqlNode | undefined, text: string): boolean {
  return node?.kind === 'symbol' && node.text === text;
}
