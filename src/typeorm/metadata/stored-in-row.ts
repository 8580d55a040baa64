import { inspect } from 'node:util';

/**
 * A stored value with the context of its row. Replaces the stored value of a bound column in a raw row until
 * the row is hydrated: TypeORM hydrates each value by itself.
 */
export class StoredInRow {
  readonly stored: unknown;
  /** Of the row; see `RowContextForm`. */
  readonly context: string;

  constructor(stored: unknown, context: string) {
    this.stored = stored;
    this.context = context;
  }

  toJSON(): unknown {
    return this.stored;
  }

  [inspect.custom](): string {
    return '[encrypted]';
  }
}
