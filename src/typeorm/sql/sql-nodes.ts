/** A name with its qualifiers, such as `"p"."email"`, by its parts in lower case. */
export interface NameNode {
  readonly kind: 'name';
  readonly parts: readonly string[];
  /** Whether one of the parts is quoted, so that it is not a keyword. */
  readonly isQuoted: boolean;
  /** Whether `::` and a type follow, which are not nodes. */
  readonly isCast?: boolean;
}

/** `*` or `p.*` in a select list, or the star of COUNT(*). */
export interface StarNode {
  readonly kind: 'star';
  readonly qualifier: string | undefined;
}

/** Nodes in parentheses. */
export interface GroupNode {
  readonly kind: 'group';
  readonly nodes: readonly SqlNode[];
}

/** A parameter, and where it begins. */
export interface ParameterNode {
  readonly kind: 'parameter';
  readonly text: string;
  readonly from: number;
}

/** A node that names nothing: a value, an operator, a comma. Strings begin with their quote. */
export interface OtherNode {
  readonly kind: 'value' | 'symbol';
  readonly text: string;
}

export type SqlNode = NameNode | StarNode | GroupNode | ParameterNode | OtherNode;

/** SQL by its nodes, and what these do not show. */
export interface ScannedSql {
  readonly nodes: readonly SqlNode[];
  /** Whether its brackets match and its quotations end, and it has no comment: SQL around it stays around it. */
  readonly isWhole: boolean;
  /**
   * Whether the database is sure to see the same. Else a quotation or comment has no end, or one that depends on
   * settings: all after it is taken for SQL without quotes, but names with other characters may hide there.
   */
  readonly isClear: boolean;
}

/** Keywords after which `*` selects, as at the beginning; elsewhere it multiplies. */
const BEFORE_STAR = new Set(['select', 'distinct', 'all', 'returning']);

/** Whether `*` after a node selects. */
export function selectsAfter(before: SqlNode | undefined): boolean {
  if (before === undefined) return true;
  if (before.kind === 'symbol') return before.text === ',';
  return before.kind === 'name' && BEFORE_STAR.has(before.parts.join('.'));
}

/** Returns a string as the name that it is where only a name can stand; any other node as it is. */
export function asName<Node extends SqlNode | undefined>(node: Node): Node | NameNode {
  if (node?.kind !== 'value' || !node.text.startsWith("'")) return node;
  return { kind: 'name', parts: [node.text.slice(1).toLowerCase()], isQuoted: true };
}

/** Returns a group whose strings are names. */
export function withNames({ nodes }: GroupNode): GroupNode {
  return { kind: 'group', nodes: nodes.map((node) => asName(node)) };
}

/** Whether a node is one of some keywords. */
export function isKeyword(node: SqlNode | undefined, ...words: readonly string[]): boolean {
  if (node?.kind !== 'name' || node.isQuoted || node.parts.length > 1) return false;
  return words.includes(node.parts[0] ?? '');
}

export function isSymbol(node: SqlNode | undefined, text: string): boolean {
  return node?.kind === 'symbol' && node.text === text;
}
