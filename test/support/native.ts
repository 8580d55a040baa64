import { backendChoice } from '../../src/crypto/native';
import type { NativeFunctions } from '../../src/crypto/native';

/** Declares tests of the add-on; reports them as skipped, and why, where it could not be compiled. */
export function describeNative(title: string, declare: () => void): void {
  const problem = process.env['FIELD_ENCRYPTION_TEST_NO_NATIVE'];
  if (problem === undefined) describe(title, declare);
  else describe(title, () => it.skip(`is skipped because ${problem}`, () => undefined));
}

/** The add-on that the tests run with. */
export function addOn(): NativeFunctions {
  const { native } = backendChoice();
  if (native === undefined) throw new Error('there is no add-on');
  return native;
}
