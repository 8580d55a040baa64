import { withKnownRow } from '../../metadata/known-row';
import type { KnownRow } from '../../metadata/known-row';
import type { UniqueIndex } from '../../metadata/encrypted-column';

/** A value under a unique index, and its row, whose scope its tokens may be made in. */
export interface ValueOfRow {
  readonly value: unknown;
  readonly row: KnownRow | undefined;
}

/** Returns the token that a value is written with. */
export function tokenOf({ indexed }: UniqueIndex, { value, row }: ValueOfRow): string {
  return withKnownRow(row, () => indexed.index.token(value));
}

/** Returns every token that rows with a value may have, the present one first. */
export function tokensOf({ indexed }: UniqueIndex, { value, row }: ValueOfRow): string[] {
  return withKnownRow(row, () => indexed.index.tokens(value));
}
