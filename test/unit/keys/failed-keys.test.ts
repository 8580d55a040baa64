import { KeyNotFoundError, KmsUnavailableError } from '../../../src/errors';
import { notWhileHeld } from '../../../src/keys/wrapping/kms-client';
import { FailedKeys } from '../../../src/keys/cache/failed-keys';

describe('FailedKeys', () => {
  it('holds what has failed for settled, for a second', () => {
    const failed = new FailedKeys();
    failed.remember('a', new KeyNotFoundError('gone'), 0);
    expect(failed.hasJustFailed('a', 999)).toBe(true);
    expect(failed.hasJustFailed('a', 1000)).toBe(false);
    expect(failed.hasJustFailed('b', 0)).toBe(false);
  });

  it('does not hold for settled what only had no time to wait', () => {
    const failed = new FailedKeys();
    failed.remember('a', notWhileHeld([], 3000), 0);
    expect(failed.hasJustFailed('a', 0)).toBe(false);
    expect(failed.error('a')).toBeInstanceOf(KmsUnavailableError);
  });

  it('keeps the last reason until it is forgotten', () => {
    const failed = new FailedKeys();
    const last = new KeyNotFoundError('gone');
    failed.remember('a', new KmsUnavailableError('down'), 0);
    failed.remember('a', last, 5);
    expect(failed.error('a')).toBe(last);
    failed.forget('a');
    expect(failed.error('a')).toBeUndefined();
  });

  it('remembers a bounded number, the latest', () => {
    const failed = new FailedKeys();
    for (let index = 0; index < 10_000; index += 1) {
      failed.remember(String(index), new KeyNotFoundError('gone'), 0);
    }
    expect(failed.error('5903')).toBeUndefined();
    expect(failed.error('5904')).toBeDefined();
    expect(failed.error('9999')).toBeDefined();
  });
});
