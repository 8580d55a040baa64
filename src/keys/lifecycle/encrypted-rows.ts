import { KeyStateError } from '../../errors';
import { keyTitle } from '../record/key-record';
import type { KeyRecord } from '../record/key-record';

/** The number of rows of a column that are under one key. */
export interface ColumnUse {
  readonly entity: string;
  readonly property: string;
  /** Table and column as the database knows them. */
  readonly table: string;
  readonly column: string;
  readonly rows: number;
  readonly rowsUnderKey: number;
  /**
   * Rows that name a key which is not in the key table, and whose id may be a damaged one of this key.
   * 0 for a root of the blind indexes: rows that cannot be read count as needing it.
   */
  readonly rowsUnderUnknownKeys: number;
}

/** The part of a key that a count depends on. */
export type CountedKey = Pick<KeyRecord, 'id' | 'name' | 'purpose'> & {
  /**
   * Where the row of the key does not prove itself, the ids of those that do: values under any other id
   * may need the key, and so may tokens, whatever the row says of its name and purpose.
   */
  readonly provenIds?: ReadonlySet<string> | undefined;
};

/** Counts, in every encrypted column, the rows that need a key, or the tokens that may be of a root. */
export type CountUses<C> = (key: CountedKey, connection: C) => Promise<readonly ColumnUse[]>;

/** The port to the rows of all encrypted columns, for the erasure of a key. */
export interface EncryptedRows<C> {
  readonly count: CountUses<C>;
  /** Loads the index roots as they are in the table now, for a count that depends on them. */
  readonly refreshRoots: () => Promise<void>;
  /**
   * Waits for the end of the transactions that have written, or are about to, when it is called: a
   * count does not see what they have not committed. Blocks none.
   *
   * @throws {@link KeyStateError}, retryable, when it takes too long
   */
  readonly writersToEnd: (key: Pick<KeyRecord, 'id'>) => Promise<void>;
}

/** Rows need the key that was to be destroyed, or may. */
export class KeyNeededError extends KeyStateError {
  override readonly name = 'KeyStateError';
}

/** Whether no row needs a key, as far as the rows say which key they need. */
export function isUnneeded(uses: readonly ColumnUse[]): boolean {
  return uses.every(
    ({ rowsUnderKey, rowsUnderUnknownKeys }) => rowsUnderKey === 0 && rowsUnderUnknownKeys === 0,
  );
}

/** For a key that was not destroyed because of its rows. */
export function stillNeeded(
  record: KeyRecord,
  uses: readonly ColumnUse[],
  isProven: boolean,
): KeyNeededError {
  const { id, purpose } = record;
  const title = keyTitle(record);
  const needed = rowsByColumn(uses, 'rowsUnderKey');
  const unknown = rowsByColumn(uses, 'rowsUnderUnknownKeys');
  const reasons = [
    needed === ''
      ? ''
      : `${title} is needed by rows: ${needed}. ${purpose === 'data' ? 'Re-encrypt' : 'Reindex'} them first.`,
    unknown === ''
      ? ''
      : `${title} may be needed by rows that name a key which is not in the key table${isProven ? '' : ', or whose own row does not prove itself'}: ${unknown}. ` +
        'Where the key id in them is damaged, they may be of this key. `field-encryption data verify` ' +
        'lists them: repair them, write their values again, or delete them first.',
  ];
  return new KeyNeededError(reasons.filter((reason) => reason !== '').join(' '), { keyId: id });
}

function rowsByColumn(
  uses: readonly ColumnUse[],
  counted: 'rowsUnderKey' | 'rowsUnderUnknownKeys',
): string {
  return uses
    .filter((use) => use[counted] > 0)
    .map((use) => `${String(use[counted])} of ${use.entity}.${use.property}`)
    .join(', ');
}
