import type { EntityMetadata } from 'typeorm';
import type { Expressions } from './any-query-builder';

/** Of all statements that are kept, before and after: a megabyte of text, or two where it is not Latin-1. */
const MAX_CHARACTERS = 2 ** 20;

/** A statement with the names of columns, and what they were looked up by. */
interface Named {
  readonly sql: string;
  readonly metadata: EntityMetadata;
  readonly alias: string;
}

/**
 * Statements in which TypeORM has put the names of columns in the place of property paths.
 *
 * It looks for these in every statement anew, which takes as long as to encrypt a value; yet an
 * application sends few forms of statements, with parameters in the place of values. The oldest are
 * forgotten first.
 */
export class NamedStatements {
  readonly #known = new Map<string, Named>();
  #characters = 0;

  /** @param name - what TypeORM does, for a statement that is not known, or of more than one entity */
  named(statement: string, expressions: Expressions, name: () => string): string {
    // TypeORM's flag says the opposite of its name: it is true unless escaping was turned off.
    const { aliases, aliasNamePrefixingEnabled, disableEscaping: escapes } = expressions;
    const [main] = aliases;
    if (main === undefined || aliases.length > 1 || !main.hasMetadata || !escapes) return name();
    const alias = aliasNamePrefixingEnabled ? main.name : '';
    const known = this.#known.get(statement);
    if (known !== undefined && known.metadata === main.metadata && known.alias === alias) {
      return known.sql;
    }
    const sql = name();
    this.#keep(statement, { sql, metadata: main.metadata, alias });
    return sql;
  }

  /** Metadata are built anew at each `initialize()`. */
  clear(): void {
    this.#known.clear();
    this.#characters = 0;
  }

  #keep(statement: string, named: Named): void {
    this.#forget(statement);
    const characters = charactersOf(statement, named);
    // A statement that would drive all others out is not worth it.
    if (characters > MAX_CHARACTERS / 2) return;
    for (const oldest of this.#known.keys()) {
      if (this.#characters + characters <= MAX_CHARACTERS) break;
      this.#forget(oldest);
    }
    this.#known.set(statement, named);
    this.#characters += characters;
  }

  #forget(statement: string): void {
    const known = this.#known.get(statement);
    if (known === undefined) return;
    this.#known.delete(statement);
    this.#characters -= charactersOf(statement, known);
  }
}

function charactersOf(statement: string, { sql }: Named): number {
  return statement.length + sql.length;
}
