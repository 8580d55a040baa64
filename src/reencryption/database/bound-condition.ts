/** A value to bind. Texts and numbers are what every driver binds alike. */
export type ParameterValue = string | number;

/** A condition in SQL, taken apart at its parameters. */
export interface BoundCondition {
  /** As it was given, with `:name` for each parameter; empty for no condition. */
  readonly sql: string;
  /** One more than there are values, which stand between them. */
  readonly texts: readonly string[];
  readonly values: readonly ParameterValue[];
}

/** Strings, quoted names and casts, which hold no parameter, and parameters. */
const PARTS = /'(?:[^']|'')*'|"(?:[^"]|"")*"|::|:([A-Za-z_]\w*)/g;

/** Returns the names of the parameters in a condition, in their order. */
export function parameterNames(sql: string): string[] {
  return [...sql.matchAll(PARTS)].flatMap(([, name]) => name ?? []);
}

/** Whether a condition has a placeholder of SQLite, which would take the value of something else. */
export function hasPlaceholder(sql: string): boolean {
  return /[?$@]/.test(sql.replace(PARTS, ''));
}

/** @param parameters - one of each of {@link parameterNames}. */
export function boundCondition(
  sql: string,
  parameters: Readonly<Record<string, ParameterValue>>,
): BoundCondition {
  const texts: string[] = [];
  const values: ParameterValue[] = [];
  let from = 0;
  for (const { 0: part, 1: name, index } of sql.matchAll(PARTS)) {
    const value = name === undefined ? undefined : parameters[name];
    if (value === undefined) continue;
    texts.push(sql.slice(from, index));
    values.push(value);
    from = index + part.length;
  }
  return { sql, texts: [...texts, sql.slice(from)], values };
}
