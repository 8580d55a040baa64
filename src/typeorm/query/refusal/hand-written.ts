import { InstanceChecker } from 'typeorm/util/InstanceChecker.js';

/** Marks clauses that TypeORM has made of find options alone; a copy of the clause has it, too. */
const OF_PROPERTIES = Symbol('made of properties and parameters');

/** Whether a predicate of find options has SQL of the application: `Raw()`, or a virtual property. */
export function isHandWritten(path: string, value: unknown): boolean {
  return path.startsWith('(') || holdsSql(value);
}

function holdsSql(value: unknown): boolean {
  if (typeof value === 'function') return true;
  if (Array.isArray(value)) return value.some(holdsSql);
  if (!InstanceChecker.isFindOperator(value)) return false;
  if (value.child !== undefined) return holdsSql(value.child);
  if (value.type === 'isNull') return false;
  // TypeORM puts the value into the statement as it is, or what a function makes of it.
  return !value.useParameter || value.getSql !== undefined || holdsSql(value.value);
}

/** Marks a clause that has no SQL of the application: its paths were looked up, its values are parameters. */
export function markMadeOfProperties(clause: object): void {
  Object.assign(clause, { [OF_PROPERTIES]: true });
}

export function isMadeOfProperties(clause: object): boolean {
  return OF_PROPERTIES in clause;
}
