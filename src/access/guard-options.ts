import type { Actor } from '../audit/actor';

/** A limit for what one actor does; work outside of `runAs` is that of one more actor. */
export interface GuardLimit {
  /** The most values in a window. A function is asked for the limit of each actor, such as by its roles. */
  readonly values: number | ((actor: Actor | undefined) => number);
  /** Milliseconds of the window, which begins with the first value. Defaults to 300,000. */
  readonly windowMs?: number;
  /**
   * What happens above the limit: `'warn'` is an event; with `'slow'` the queries of the actor that read or look up
   * encrypted values also wait a second each, one after the other, except in transactions; `'refuse'` lets nothing
   * through that would exceed it, with a {@link RateLimitedError}. Defaults to `'warn'`.
   */
  readonly action?: 'warn' | 'slow' | 'refuse';
}

/** What the guard watches in this process. */
export interface GuardOptions {
  /** Values that are decrypted for an actor. Defaults to no limit. */
  readonly reads?: GuardLimit;
  /** Values that an actor looks up by. Defaults to no limit. */
  readonly lookups?: GuardLimit;
  /**
   * Distinct stored values that do not decrypt, or are not what they were found by, for whomever: damaged, or tampered
   * with. An event, and nothing else.
   * Defaults to 5 in 300,000 ms.
   */
  readonly failures?: { readonly values?: number; readonly windowMs?: number };
}

/** Window of a limit that names none. */
export const DEFAULT_WINDOW_MS = 300_000;

/** The options of each part. */
const KNOWN: Readonly<Record<keyof GuardOptions, readonly string[]>> = {
  reads: ['values', 'windowMs', 'action'],
  lookups: ['values', 'windowMs', 'action'],
  failures: ['values', 'windowMs'],
};

/** Returns what is wrong with the option `guard`. */
export function guardProblem(options: unknown): string | undefined {
  if (typeof options !== 'object' || options === null) return 'guard must be an object';
  const parts = Object.keys(KNOWN) as (keyof GuardOptions)[];
  const unknown = unknownIn(options, parts);
  if (unknown !== undefined) return `guard has ${unknown}`;
  for (const name of parts) {
    const limit = (options as Record<string, unknown>)[name];
    if (limit === undefined) continue;
    const unknownOfPart = unknownIn(Object(limit) as object, KNOWN[name]);
    if (unknownOfPart !== undefined) return `guard.${name} has ${unknownOfPart}`;
    if (!isLimit(limit, name === 'failures')) {
      return `guard.${name} must have whole numbers above 0 as values and windowMs, and its action be 'warn', 'slow' or 'refuse'`;
    }
  }
  return undefined;
}

function unknownIn(options: object, known: readonly string[]): string | undefined {
  const name = Object.keys(options).find((each) => !known.includes(each));
  if (name === undefined) return undefined;
  return `an unknown option "${name}" (known are ${known.join(', ')})`;
}

function isLimit(limit: unknown, isOfFailures: boolean): boolean {
  const { values, windowMs = 1, action = 'warn' } = Object(limit) as Record<string, unknown>;
  if (!isCount(windowMs)) return false;
  if (isOfFailures) return values === undefined || isCount(values);
  const isAction = action === 'warn' || action === 'slow' || action === 'refuse';
  return isAction && (isCount(values) || typeof values === 'function');
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && Number(value) > 0;
}
