import { DriverUtils } from 'typeorm/driver/DriverUtils.js';
import { FieldEncryptionError, IndexIntegrityError } from '../../errors';
import { decryptStored, describeColumn, storedForm } from '../encrypted-column';
import type { EncryptedColumn } from '../encrypted-column';
import type { ExpectedValue, Expectation } from './expectation';
import { expectedOfRows } from './expected-conditions';
import type { RawResult, Row } from './raw-result';

/**
 * Compares what rows hold with what they were looked up by. The database knows tokens only: anyone who
 * writes to it can exchange those of two rows, and have a lookup by one person's address return another
 * person's row.
 *
 * @throws {@link IndexIntegrityError} for a row that cannot belong to the result. What the query has not
 * selected, or does not decrypt, is left to others.
 */
export function assertExpected(result: RawResult): void {
  const [first] = result.rows;
  const expected = first && expectedOfRows(result.expressions);
  if (expected === undefined) return;
  const check = checkOf(expected, result);
  for (const row of result.rows) {
    const wrong = check(row);
    if (wrong !== undefined) throw mismatch(wrong);
  }
}

/** Gives the column by which a row cannot belong to the result. */
type Check = (row: Row) => EncryptedColumn | undefined;

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
    let wrong: EncryptedColumn | undefined;
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
  const key = DriverUtils.buildAlias(driver, undefined, alias, encrypted.column.databaseName);
  const matches = index.index.matcher(values);
  let previous: { readonly stored: unknown; readonly isRight: boolean } | undefined;
  return (row) => {
    const stored = row[key];
    if (stored === undefined) return undefined;
    // A join repeats the row that it begins at.
    if (previous?.stored !== stored) previous = { stored, isRight: isRight(row) };
    return previous.isRight ? undefined : encrypted;
  };

  function isRight(row: Row): boolean {
    if (row[key] === null) return false;
    try {
      return isFoundInClear(encrypted, row[key]) || matches(decryptStored(encrypted, row[key]));
    } catch (error) {
      if (error instanceof FieldEncryptionError) return true;
      throw error;
    }
  }
}

/** Cleartext rows are found by what they hold. */
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
