import type { EncryptedColumn, IndexedColumn } from '../../metadata/encrypted-column';
import type { Expressions } from '../any-query-builder';

import { composedCondition } from './lookup';
import type { ComposedCondition } from './lookup';

/**
 * What the values of a row must be for the row to belong to a result, as far as a where condition says
 * so of encrypted columns. A condition that says nothing of them, or not for certain, has none.
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
 * What a condition on an encrypted property lets one expect of the rows it finds. Nothing where tokens
 * are truncated: those are made exact by the lookup itself.
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
    // What is found because it differs may do so in one form of a changing index and not in another.
    case 'not':
    case 'isNull':
      return undefined;
  }
}

/** Of conditions that all hold, those count that say something. */
function allOf(parts: readonly (Expectation | undefined)[]): Expectation | undefined {
  const known = parts.filter((part) => part !== undefined);
  return known.length > 1 ? { kind: 'all', parts: known } : known[0];
}

/** Of conditions of which one holds, each has to say something. */
function anyOf(parts: readonly (Expectation | undefined)[]): Expectation | undefined {
  const known = parts.filter((part) => part !== undefined);
  if (known.length < parts.length) return undefined;
  return known.length > 1 ? { kind: 'any', parts: known } : known[0];
}

type Clause = Expressions['wheres'][number];
type Condition = Clause['condition'];

/** Of conditions that TypeORM keeps as objects. */
const ofConditions = new WeakMap<object, Expectation>();
/** Of find options, which it makes one text of; a copy of the clause has it too. */
const OF_TEXT = Symbol('expectation');

/** An object or list of find options that is being made a condition, with what its parts let one expect. */
interface Level {
  readonly builder: object;
  readonly parts: (Expectation | undefined)[];
  text: string;
}

/** TypeORM makes conditions without waiting for anything, so that one is made at a time. */
let level: Level | undefined;

/** Keeps what a predicate lets one expect, with the condition that TypeORM has made of it. */
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

/** Notes what find options let one expect while TypeORM makes a condition of them; called for each object and list within. */
export function noteFindOptions(builder: object, where: unknown, build: () => string): string {
  const outer = level;
  const own: Level = { builder, parts: [], text: '' };
  level = own;
  try {
    const text = build();
    if (outer?.builder === builder) {
      outer.parts.push(Array.isArray(where) ? anyOf(own.parts) : allOf(own.parts));
      outer.text = text;
    }
    return text;
  } finally {
    level = outer;
  }
}

/** Keeps what find options let one expect with the clause that they become. */
export function keepFindOptions(
  builder: { readonly expressionMap: Expressions },
  apply: () => void,
): void {
  const outer = level;
  const own: Level = { builder, parts: [], text: '' };
  level = own;
  try {
    apply();
  } finally {
    level = outer;
  }
  if (own.text === '') return;
  const clause = builder.expressionMap.wheres.findLast(({ condition }) => condition === own.text);
  if (clause !== undefined) Object.assign(clause, { [OF_TEXT]: own.parts[0] });
}

/** What the where clauses of a query let one expect of each row of its raw result. */
export function expectedOfRows({ wheres }: Expressions): Expectation | undefined {
  const expected = ofClauses(wheres);
  return expected === undefined || wheres.some(isAmbiguous) ? undefined : expected;
}

/** As SQL reads them: AND binds closer than OR. */
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

/** SQL of the application that may hold more than one condition, and then is none of a list of them. */
const MAY_GO_ON = /\bor\b|--|\/\*/i;

/** TypeORM puts the application's SQL between other conditions without brackets. */
function isAmbiguous(clause: Clause): boolean {
  const { condition } = clause;
  if (typeof condition === 'string') return !(OF_TEXT in clause) && MAY_GO_ON.test(condition);
  if (ofConditions.has(condition)) return false;
  if (Array.isArray(condition)) return condition.some(isAmbiguous);
  if ('condition' in condition) return isAmbiguous({ type: 'and', condition: condition.condition });
  const isJoined = ['and', 'or'].includes(condition.operator);
  return !isJoined && condition.parameters.some((sql) => MAY_GO_ON.test(sql));
}
