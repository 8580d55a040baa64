import type { EncryptedColumn, IndexedColumn } from '../../metadata/encrypted-column';
import type { Expressions } from '../any-query-builder';
import { isHandWritten, markMadeOfProperties } from '../refusal/hand-written';

import { composedCondition } from './lookup';
import type { ComposedCondition } from './lookup';

/**
 * The values that a row must hold to belong to a result, as far as a where condition determines those of
 * encrypted columns. A condition that does not determine any has none.
 */
export type Expectation =
  | ({ readonly kind: 'holds' } & ExpectedValue)
  | { readonly kind: 'all' | 'any'; readonly parts: readonly Expectation[] };

/** An encrypted column that must hold one of some values, as its index compares them. */
export interface ExpectedValue {
  /** The alias that the column is selected by. */
  readonly alias: string;
  readonly encrypted: EncryptedColumn;
  readonly index: IndexedColumn;
  readonly values: readonly unknown[];
}

/**
 * Returns what a condition on an encrypted property lets one expect of the rows that it finds. Nothing if
 * tokens are truncated: the lookup itself makes those exact.
 */
export function expectationOf(
  alias: string,
  encrypted: EncryptedColumn,
  value: unknown,
): Expectation | undefined {
  const [index] = encrypted.indexes;
  if (index === undefined || index.index.isTruncated) return undefined;
  return ofCondition({ alias, encrypted, index }, composedCondition(encrypted, value));
}

function ofCondition(
  place: Omit<ExpectedValue, 'values'>,
  condition: ComposedCondition,
): Expectation | undefined {
  switch (condition.kind) {
    case 'oneOf':
      if (condition.values.length === 0) return undefined;
      return { kind: 'holds', ...place, values: condition.values };
    case 'and':
      return allOf(condition.operands.map((operand) => ofCondition(place, operand)));
    case 'or':
      return anyOf(condition.operands.map((operand) => ofCondition(place, operand)));
    // Inequality may hold for one form of a changing index and not for another.
    case 'not':
    case 'isNull':
      return undefined;
  }
}

/** Combines conditions that all hold, of which those that determine nothing do not count. */
function allOf(parts: readonly (Expectation | undefined)[]): Expectation | undefined {
  const known = parts.filter((part) => part !== undefined);
  return known.length > 1 ? { kind: 'all', parts: known } : known[0];
}

/** Combines conditions of which one holds, each of which has to determine something. */
function anyOf(parts: readonly (Expectation | undefined)[]): Expectation | undefined {
  const known = parts.filter((part) => part !== undefined);
  if (known.length < parts.length) return undefined;
  return known.length > 1 ? { kind: 'any', parts: known } : known[0];
}

type Clause = Expressions['wheres'][number];
type Condition = Clause['condition'];

/** The expectations of conditions that TypeORM keeps as objects. */
const ofConditions = new WeakMap<object, Expectation>();
/** The expectation of find options, which TypeORM turns into one text; a copy of the clause has it, too. */
const OF_TEXT = Symbol('expectation');

/** An object or list of find options that TypeORM is turning into a condition, and the expectations of its parts. */
interface Level {
  readonly builder: object;
  readonly parts: (Expectation | undefined)[];
  text: string;
  /** Whether a part of it is SQL of the application. */
  hasSql: boolean;
}

/** The current level: TypeORM builds conditions synchronously, so one at a time. */
let level: Level | undefined;

/** Keeps the expectation of a predicate with the condition that TypeORM has built from it. */
export function expecting(
  builder: object,
  expectation: Expectation | undefined,
  condition: Condition,
): Condition {
  if (expectation === undefined) return condition;
  if (level?.builder === builder) level.parts.push(expectation);
  const kept =
    typeof condition === 'string' ? ({ operator: 'brackets', condition } as const) : condition;
  ofConditions.set(kept, expectation);
  return kept;
}

/** Notes whether a predicate of find options has SQL of the application. */
export function noteHandWritten(builder: object, path: string, value: unknown): void {
  if (level?.builder === builder) level.hasSql ||= isHandWritten(path, value);
}

/** Notes the expectation of find options while TypeORM builds a condition from them; called for each object and list within. */
export function noteFindOptions(builder: object, where: unknown, build: () => string): string {
  const outer = level;
  const [text, { parts, hasSql }] = onOwnLevel(builder, build);
  if (outer?.builder === builder) {
    outer.parts.push(Array.isArray(where) ? anyOf(parts) : allOf(parts));
    outer.text = text;
    outer.hasSql ||= hasSql;
  }
  return text;
}

/** Keeps what is known of find options with the clause that they become. */
export function keepFindOptions(
  builder: { readonly expressionMap: Expressions },
  apply: () => void,
): void {
  const [, { text, parts, hasSql }] = onOwnLevel(builder, apply);
  if (text === '') return;
  const clause = builder.expressionMap.wheres.findLast(({ condition }) => condition === text);
  if (clause === undefined) return;
  Object.assign(clause, { [OF_TEXT]: parts[0] });
  if (!hasSql) markMadeOfProperties(clause);
}

/** Builds a condition, and returns what its parts let one expect. */
function onOwnLevel<T>(builder: object, build: () => T): [T, Level] {
  const outer = level;
  const own: Level = { builder, parts: [], text: '', hasSql: false };
  level = own;
  try {
    return [build(), own];
  } finally {
    level = outer;
  }
}

/** Returns what the where clauses of a query let one expect of each row of its raw result. */
export function expectedOfRows({ wheres }: Expressions): Expectation | undefined {
  const expected = ofClauses(wheres);
  return expected === undefined || wheres.some(isAmbiguous) ? undefined : expected;
}

/** Combines clauses as SQL reads them: AND binds more tightly than OR. */
function ofClauses(clauses: readonly Clause[]): Expectation | undefined {
  const alternatives: (Expectation | undefined)[][] = [];
  for (const clause of clauses) {
    const last = alternatives.at(-1);
    if (last === undefined || clause.type === 'or') alternatives.push([ofClause(clause)]);
    else last.push(ofClause(clause));
  }
  return anyOf(alternatives.map(allOf));
}

function ofClause(clause: Clause): Expectation | undefined {
  const { condition } = clause;
  if (typeof condition === 'string') return (clause as { [OF_TEXT]?: Expectation })[OF_TEXT];
  const known = ofConditions.get(condition);
  if (known !== undefined) return known;
  if (Array.isArray(condition)) return ofClauses(condition);
  if (condition.operator !== 'brackets' || !('condition' in condition)) return undefined;
  return ofClause({ type: 'and', condition: condition.condition });
}

/** Found in SQL of the application that may hold more than one condition. */
const SEVERAL_CONDITIONS = /\bor\b|--|\/\*/i;

/** Whether SQL of the application may change the meaning of a list of conditions, in which TypeORM does not bracket it. */
function isAmbiguous(clause: Clause): boolean {
  const { condition } = clause;
  if (typeof condition === 'string')
    return !(OF_TEXT in clause) && SEVERAL_CONDITIONS.test(condition);
  if (ofConditions.has(condition)) return false;
  if (Array.isArray(condition)) return condition.some(isAmbiguous);
  if ('condition' in condition) return isAmbiguous({ type: 'and', condition: condition.condition });
  const isJoined = ['and', 'or'].includes(condition.operator);
  return !isJoined && condition.parameters.some((sql) => SEVERAL_CONDITIONS.test(sql));
}
