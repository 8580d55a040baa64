const ASCII = /^[\0-\x7f]*$/;

/** What a part of a row's context is: the value of a column, or the scope of the row's key. */
export type ContextKind = 'bind' | 'scope';

/** A part of the context of rows: its kind and name. */
export interface ContextPart {
  readonly kind: ContextKind;
  readonly name: string;
}

/**
 * The form of the context that bound values have beside their field: the byte string
 * `lengthPrefixed(kind, name, value, …)` of the parts in the order of their kinds and names. It is part of
 * the stored form, and can never change.
 *
 * A context is a string with a character for each byte: cheap to make for every row, and to hand on.
 */
export class RowContextForm {
  readonly parts: readonly ContextPart[];
  /** The bytes before each value. */
  readonly #before: readonly string[];

  constructor(parts: readonly ContextPart[]) {
    this.parts = [...parts].sort((a, b) => compare(a.kind, b.kind) || compare(a.name, b.name));
    this.#before = this.parts.map(
      ({ kind, name }, i) =>
        (i === 0 ? uint32(3 * parts.length) : '') + prefixed(utf8(kind)) + prefixed(utf8(name)),
    );
  }

  /**
   * Returns the context of a row.
   *
   * @param valueAt - returns the value of a part in the one form that equal values have, as {@link utf8}
   */
  of(valueAt: (position: number) => string): string {
    let context = '';
    for (let i = 0; i < this.#before.length; i++) {
      context += `${this.#before[i] ?? ''}${prefixed(valueAt(i))}`;
    }
    return context;
  }
}

/**
 * Returns the context that a value is under: values under a common key are from before their field had keys of
 * scopes, and bound to the other parts.
 */
export function contextUnder(
  key: AnyKey,
  field: MovingField,
  context: string | undefined,
): string | undefined {
  return context !== undefined && isFromBeforeScopes(key, field) ? withoutScope(context) : context;
}

/** Whether a key has values of a field from before this had keys of scopes. */
export function isFromBeforeScopes({ scope }: AnyKey, { readsUnscoped }: MovingField): boolean {
  return readsUnscoped && scope === undefined;
}

interface AnyKey {
  readonly scope?: unknown;
}

interface MovingField {
  readonly readsUnscoped: boolean;
}

/** The scope is the last part, of three fields as all are. */
function withoutScope(context: string): string {
  const fields = lengthAt(context, 0) - 3;
  if (fields === 0) return context;
  let at = 4;
  for (let i = 0; i < fields; i++) at += 4 + lengthAt(context, at);
  return uint32(fields) + context.slice(4, at);
}

function lengthAt(context: string, at: number): number {
  return contextBytes(context.slice(at, at + 4)).readUInt32BE();
}

/** Returns the bytes of a context. */
export function contextBytes(context: string): Buffer {
  return Buffer.from(context, 'latin1');
}

/** Returns the UTF-8 of a well-formed text, with a character for each byte. */
export function utf8(text: string): string {
  return ASCII.test(text) ? text : Buffer.from(text, 'utf8').toString('latin1');
}

function prefixed(bytes: string): string {
  return (SHORT_LENGTHS[bytes.length] ?? uint32(bytes.length)) + bytes;
}

function uint32(value: number): string {
  return String.fromCharCode(
    value >>> 24,
    (value >>> 16) & 0xff,
    (value >>> 8) & 0xff,
    value & 0xff,
  );
}

/** The lengths that most values have. */
const SHORT_LENGTHS = Array.from({ length: 64 }, (_, length) => uint32(length));

/** Compares by code units, whatever the locale. */
function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
