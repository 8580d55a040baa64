import type { EncryptedColumn } from '../encrypted-column';

/** What a statement reads columns from: a table, or a query in its place. All names in lower case. */
export interface Source {
  readonly encrypted: ReadonlyMap<string, EncryptedColumn>;
  /** The columns of it that are known not to be encrypted. */
  readonly plain: ReadonlySet<string>;
}

/** Something that has no encrypted column, and of which nothing else is known. */
export const UNKNOWN: Source = { encrypted: new Map(), plain: new Set() };

/** The sources of a statement by the names they have in it. Sub-queries see those around them, too. */
export class Scope {
  readonly outer: Scope | undefined;
  readonly #sources = new Map<string, Source>();
  /** What the statement itself gives a name, which all clauses of SQLite may use. */
  #outputs: Source = UNKNOWN;

  constructor(outer?: Scope) {
    this.outer = outer;
  }

  get sources(): Iterable<Source> {
    return new Set(this.#sources.values());
  }

  source(name: string): Source | undefined {
    return this.#sources.get(name);
  }

  add(name: string, source: Source): void {
    this.#sources.set(name, merged(this.#sources.get(name), source));
  }

  nameOutputs(outputs: Source): void {
    this.#outputs = outputs;
  }

  /**
   * The encrypted column that a name stands for: `a.b.c` may be column `b.c` of `a`, column `c` of
   * `a.b`, or a column `a.b.c`.
   */
  column(parts: readonly string[]): EncryptedColumn | undefined {
    for (let length = parts.length - 1; length > 0; length--) {
      const source = this.#named(parts.slice(0, length).join('.'));
      if (source !== undefined) return source.encrypted.get(parts.slice(length).join('.'));
    }
    return this.#unqualified(parts.join('.'));
  }

  /** An encrypted column of a source that is named as if it were a column itself, and so stands for its row. */
  wholeRow(parts: readonly string[]): EncryptedColumn | undefined {
    const name = parts.join('.');
    for (const { plain } of this.#sources.values()) if (plain.has(name)) return undefined;
    return this.#sources.get(name)?.encrypted.values().next().value;
  }

  #named(name: string): Source | undefined {
    const { outer } = this;
    return this.#sources.get(name) ?? (outer === undefined ? undefined : outer.#named(name));
  }

  #unqualified(name: string): EncryptedColumn | undefined {
    for (const { encrypted } of this.#sources.values()) {
      const column = encrypted.get(name);
      if (column !== undefined) return column;
    }
    const output = this.#outputs.encrypted.get(name);
    if (output !== undefined) return output;
    for (const { plain } of this.#sources.values()) if (plain.has(name)) return undefined;
    const { outer } = this;
    return outer === undefined ? undefined : outer.#unqualified(name);
  }
}

/** The source that two of one name are together: doubt counts as encrypted. */
export function merged(known: Source | undefined, source: Source): Source {
  if (known === undefined || known === source) return source;
  return {
    encrypted: new Map([...known.encrypted, ...source.encrypted]),
    plain: new Set([...known.plain].filter((name) => source.plain.has(name))),
  };
}

/** Knows the tables that SQL may name, by the parts of the name in lower case. */
export interface Catalog {
  source(parts: readonly string[]): Source | undefined;
}
