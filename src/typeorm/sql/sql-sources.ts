import type { EncryptedColumn } from '../metadata/encrypted-column';

/** A source of columns of a statement: a table, or a query in its place. All names are in lower case. */
export interface Source {
  readonly encrypted: ReadonlyMap<string, EncryptedColumn>;
  /** Its columns that are known not to be encrypted. */
  readonly plain: ReadonlySet<string>;
  /** Other names of plain columns, which TypeORM replaces after the name of the source. */
  readonly paths?: ReadonlySet<string>;
}

/** A source without encrypted columns, of which nothing else is known. */
export const UNKNOWN: Source = { encrypted: new Map(), plain: new Set() };

/** Other rows of a write besides that of its table: `excluded` in ON CONFLICT, the others in RETURNING of PostgreSQL 18. */
export const WRITTEN_ROWS = ['excluded', 'old', 'new'];

/** The sources of a statement by their names in it. Sub-queries also see those around them. */
export class Scope {
  readonly outer: Scope | undefined;
  readonly #sources = new Map<string, Source>();
  /** Columns that the statement itself names, which all clauses of SQLite may use. */
  #outputs: Source = UNKNOWN;

  constructor(outer?: Scope) {
    this.outer = outer;
  }

  get sources(): Iterable<Source> {
    return new Set(this.#sources.values());
  }

  /** Returns the sources that `*` or `qualifier.*` selects from. */
  starSources(qualifier: string | undefined): Iterable<Source> {
    const named = qualifier === undefined ? undefined : this.#sources.get(qualifier);
    return named === undefined ? this.sources : [named];
  }

  /** Returns an encrypted column of any source. */
  anyEncrypted(): EncryptedColumn | undefined {
    return anyEncrypted(joined([...this.sources]));
  }

  add(name: string, source: Source): void {
    this.#sources.set(name, merged(this.#sources.get(name), source));
  }

  nameOutputs(outputs: Source): void {
    this.#outputs = outputs;
  }

  /**
   * Returns the encrypted column that a name stands for: `a.b.c` may be column `b.c` of `a`, column `c` of
   * `a.b`, or a column `a.b.c`. `a` may also be the schema of `b`.
   */
  column(parts: readonly string[]): EncryptedColumn | undefined {
    const row = this.#rowBefore(parts);
    return row === undefined
      ? this.#unqualified(parts.join('.'))
      : row.source.encrypted.get(row.name);
  }

  /** Returns an encrypted column of a source that stands for its row, as it is named like a column. */
  wholeRow(parts: readonly string[]): EncryptedColumn | undefined {
    const name = parts.join('.');
    return this.#hasPlain(name) ? undefined : anyEncrypted(this.#named(name));
  }

  /**
   * Returns an encrypted column of a row that a possible function follows: PostgreSQL takes `p.to_jsonb`
   * for `to_jsonb(p)` if `p` has no such column.
   */
  calledRow(parts: readonly string[]): EncryptedColumn | undefined {
    const row = this.#rowBefore(parts);
    if (row === undefined) return undefined;
    const { source, name } = row;
    const isColumn = [source.encrypted, source.plain, source.paths].some((all) => all?.has(name));
    return isColumn ? undefined : anyEncrypted(source);
  }

  /** Returns the source that the first parts of a name stand for, and the rest of the name. */
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

/** Returns two sources of one name as one; a column counts as plain only if it is so in both. */
export function merged(known: Source | undefined, source: Source): Source {
  if (known === undefined || known === source) return source;
  return {
    encrypted: new Map([...known.encrypted, ...source.encrypted]),
    plain: new Set([...known.plain].filter((name) => source.plain.has(name))),
  };
}

/** Returns the join of several sources. */
export function joined(sources: readonly Source[]): Source {
  return {
    encrypted: new Map(sources.flatMap(({ encrypted }) => [...encrypted])),
    plain: new Set(sources.flatMap(({ plain }) => [...plain])),
  };
}

/** The tables that SQL may name, by the parts of the name in lower case. */
export interface Catalog {
  /** Whether the name of a row may stand for its values, as in PostgreSQL. */
  readonly rowsAreValues: boolean;
  source(parts: readonly string[]): Source | undefined;
}
