import { ErasedError, FieldEncryptionError, IndexIntegrityError } from '../../../errors';
import { FetchedValue } from '../../codec/previous-value';
import type { Installation } from '../../installation/installation';
import { noteUses, requireUse, tellOfKeys } from '../../installation/value-use';
import {
  decryptStored,
  describeColumn,
  fetchPrevious,
  storedForm,
} from '../../metadata/encrypted-column';
import type { EncryptedColumn } from '../../metadata/encrypted-column';
import { tellOfFailure } from '../../metadata/failure-message';
import { expectedOfRows } from '../lookup/expectation';
import type { Expectation, ExpectedValue } from '../lookup/expectation';

import { RawRows } from './bound-rows';
import { decryptedValues } from './decrypted-values';
import { ciphertextPrefixes, rawName, restoreCachedBytes } from './raw-result';
import type { RawResult, Row } from './raw-result';

/** Restores the stored values in raw rows, for callers that get these along with the entities. */
export function restorePreviousValues({ options }: Installation, rows: readonly Row[]): void {
  if (options.previousFormats === undefined) return;
  for (const row of rows) {
    for (const [key, value] of Object.entries(row)) {
      if (value instanceof FetchedValue) row[key] = value.stored;
    }
  }
}

/** Fetches the plaintexts of remote formats in raw rows. */
async function fetchPreviousValues({ rows, columns }: RawResult): Promise<void> {
  for (const [key, encrypted] of columns) {
    const ready = await fetchPrevious(
      encrypted,
      rows.map((row) => row[key]),
    );
    rows.forEach((row, i) => {
      if (ready[i] instanceof FetchedValue) row[key] = ready[i];
    });
  }
}

/**
 * Compares the values of rows with those that they were looked up by. The database only compares tokens:
 * anyone who writes to it can exchange those of two rows, so that a lookup by one person's address returns
 * another person's row.
 *
 * @throws {@link IndexIntegrityError} for a row that cannot belong to the result, as one of an erased scope, whose
 * tokens are gone, and whatever reading its value throws. Values that the query did not select are not compared.
 */
function assertExpected(expected: Expectation, result: RawResult): void {
  const check = checkOf(expected, result);
  for (const row of result.rows) {
    const wrong = check(row);
    if (wrong === undefined) continue;
    const { error, stored } = wrong;
    throw tellOfFailure(result.installation.dataSource, 'lookup', error, undefined, stored);
  }
}

/** Why a row cannot belong to the result, or cannot be shown to. */
interface Wrong {
  readonly error: FieldEncryptionError;
  readonly stored: unknown;
}

type Check = (row: Row) => Wrong | undefined;

function checkOf(expected: Expectation, result: RawResult): Check {
  if (expected.kind === 'holds') return valueCheck(expected, result);
  const checks = expected.parts.map((part) => checkOf(part, result));
  return expected.kind === 'all' ? firstWrong(checks) : lastWrong(checks);
}

function firstWrong(checks: readonly Check[]): Check {
  return (row) => {
    for (const check of checks) {
      const wrong = check(row);
      if (wrong !== undefined) return wrong;
    }
    return undefined;
  };
}

function lastWrong(checks: readonly Check[]): Check {
  return (row) => {
    let wrong: Wrong | undefined;
    for (const check of checks) {
      wrong = check(row);
      if (wrong === undefined) return undefined;
    }
    return wrong;
  };
}

function valueCheck(expected: ExpectedValue, result: RawResult): Check {
  const { alias, encrypted, index, values } = expected;
  const { driver } = result.installation.dataSource;
  const key = rawName(driver, alias, encrypted.column);
  const matches = index.index.matcher(values);
  const rows = new RawRows(result.installation, alias);
  let previous: { readonly stored: unknown; readonly wrong: ReturnType<Check> } | undefined;
  return (row) => {
    const stored = row[key];
    if (stored === undefined) return undefined;
    // A join repeats the row that it starts from.
    if (previous?.stored !== stored) {
      const error = wrongIn(row);
      previous = { stored, wrong: error && { error, stored } };
    }
    return previous.wrong;
  };

  function wrongIn(row: Row): FieldEncryptionError | undefined {
    try {
      return holdsValue(row) ? undefined : mismatch(encrypted);
    } catch (error) {
      if (error instanceof ErasedError) return mismatch(encrypted);
      if (error instanceof FieldEncryptionError) return error;
      throw error;
    }
  }

  function holdsValue(row: Row): boolean {
    const stored = row[key];
    if (stored === null) return false;
    if (isFoundInClear(encrypted, stored)) return true;
    return matches(decryptStored(encrypted, rows.at(row).inRow(encrypted, stored)));
  }
}

/** Whether a row was found by its cleartext. */
function isFoundInClear(encrypted: EncryptedColumn, stored: unknown): boolean {
  return encrypted.readsPlaintext && storedForm(encrypted, stored) === 'cleartext';
}

function mismatch(encrypted: EncryptedColumn): IndexIntegrityError {
  const { entity, property } = encrypted.policy;
  return new IndexIntegrityError(
    `${describeColumn(encrypted)}: a lookup found a row that holds another value than was looked up, so that ` +
      'its token is not its own. Tokens were exchanged, or written without their values: find out who writes to ' +
      `the table. \`field-encryption data verify --entity ${entity}\` names such rows, and ` +
      `\`data reindex --entity ${entity}\` gives every row the tokens of what it holds.`,
    { entity, property },
  );
}

/**
 * Prepares TypeORM's hydration, which is synchronous: fetches the data keys of all rows and the values of
 * remote formats, and refuses rows that hold another value than was looked up. Waits only if it has to.
 */
export async function prepareHydration(result: RawResult): Promise<void> {
  const { installation, queryRunner } = result;
  restoreCachedBytes(result);
  const expected = result.rows.length === 0 ? undefined : expectedOfRows(result.expressions);
  const opened = withoutSealed(result);
  // Before a KMS is asked on behalf of somebody who may not.
  if (installation.access.isOn) {
    for (const [key, encrypted] of opened.columns) {
      if (result.rows.some((row) => (row[key] ?? null) !== null)) {
        requireUse(installation, encrypted, 'decrypt');
      }
    }
  }
  const read = expected === undefined ? opened : result;
  const prefixes = ciphertextPrefixes(read);
  tellOfKeys(installation, prefixes);
  const loading = installation.loadKeys(prefixes, queryRunner);
  if (loading !== undefined) await loading;
  noteUses(installation, 'decrypt', () => decryptedValues(opened));
  if (result.columns.some(([, { scope }]) => scope !== undefined)) {
    await installation.recordAcrossScopes(queryRunner);
  }
  if (installation.options.previousFormats !== undefined) await fetchPreviousValues(read);
  if (expected !== undefined) assertExpected(expected, result);
}

/** Returns a result without the columns whose values stay encrypted. */
function withoutSealed(result: RawResult): RawResult {
  const { columns } = result;
  if (!columns.some(([, { isSealed }]) => isSealed)) return result;
  return { ...result, columns: columns.filter(([, { isSealed }]) => !isSealed) };
}
