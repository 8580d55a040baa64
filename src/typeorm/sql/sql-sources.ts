import type { EncryptedColumn } from '../metadata/encrypted-column';

/** What a statement reads columns from: a table, or a query in its place. All names in lower case. */
export interface Source {
  readonly encrypted: ReadonlyMap<string, EncryptedColumn>;
  /** The columns of it that are known not to be encrypted. */
  readonly plain: ReadonlySet<string>;
  /** Other names of such columns, which TypeORM replaces where they follow the name of the source. */
  readonly paths?: ReadonlySet<string>;
}

/** Something that has no encrypted column, and of which nothing else is known. */
export const UNKNOWN: Source = { encrypted: new Map(), plain: new Set() };

/** The rows that a write has beside that of its table: ON CONFLICT the first, RETURNING of PostgreSQL 18 the others. */
export const WRITTEN_ROWS = ['excluded', 'old', 'new'];

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
   * `a.b`, or a column `a.b.c`. `a` may also be the schema of `b`.
   */
  column(parts: readonly string[]): EncryptedColumn | undefined {
    const row = this.#rowBefore(parts);
    return row === undefined
      ? this.#unqualified(parts.join('.'))
      : row.source.encrypted.get(row.name);
  }

  /** An encrypted column of a source that is named as if it were a column itself, and so stands for its row. */
  wholeRow(parts: readonly string[]): EncryptedColumn | undefined {
    const name = parts.join('.');
    return this.#hasPlain(name) ? undefined : anyEncrypted(this.#named(name));
  }

  /**
   * An encrypted column of a row with what may be a function behind it: PostgreSQL takes `p.to_jsonb`
   * for `to_jsonb(p)` where `p` has no such column.
   */
  calledRow(parts: readonly string[]): EncryptedColumn | undefined {
    const row = this.#rowBefore(parts);
    if (row === undefined) return undefined;
    const { source, name } = row;
    const isColumn = [source.encrypted, source.plain, source.paths].some((all) => all?.has(name));
    return isColumn ? undefined : anyEncrypted(source);
  }

  /** The source that the first parts of a name stand for, and the rest of it. */
  #rowBefore(parts: readonly string[]): { source: Source; name: string } | undefined {
    const named = (qualifier: string, length: number) => {
      const source = this.#named(qualifier);
      return source === undefined ? undefined : { source, name: parts.slice(length).join('.') };
    };
    for (let length = parts.length - 1; length > 0; length--) {
      const row = named(parts.slice(0, length).join('.'), length);
      if (row !== undefined) return row;
    }
    for (let length = parts.length - 1; length > 1; length--) {
      const row = named(parts[length - 1] ?? '', length);
      if (row !== undefined) return row;
    }
    return undefined;
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

  #hasPlain(name: string): boolean {
    for (const { plain } of this.#sources.values()) if (plain.has(name)) return true;
    const { outer } = this;
    return outer === undefined ? false : outer.#hasPlain(name);
  }
}

function anyEncrypted(source: Source | undefined): EncryptedColumn | undefined {
  return source?.encrypted.values().next().value;
}

/** The source that two of one name are together: doubt counts as encrypted. */
export function merged(known: Source | undefined, source: Source): Source {
  if (known === undefined || known === source) return source;
  return {
    encrypted: new Map([...known.encrypted, ...source.encrypted]),
    plain: new Set([...known.plain].filter((name) => source.plain.has(name))),
  };
}

/** The source that a join of several is. */
export function joined(sources: readonly Source[]): Source {
  return {
    encrypted: new Map(sources.flatMap(({ encrypted }) => [...encrypted])),
    plain: new Set(sources.flatMap(({ plain }) => [...plain])),
  };
}

/** Knows the tables that SQL may name, by the parts of the name in lower case. */
export interface Catalog {
  /** Whether the name of a row may stand for its values, as in PostgreSQL. */
  readonly rowsAreValues: boolean;
  source(parts: readonly string[]): Source | undefined;
}
