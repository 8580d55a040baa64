import type { AddOn, NativeFunctions } from '../../../src/crypto/native';
import { ADD_ON_VERSION, chooseBackend, reasonOf } from '../../../src/crypto/native';
import { ConfigurationError } from '../../../src/errors';
import { thrownBy } from '../../support/field-fixtures';

const functions = {} as NativeFunctions;
const addOn = (version = ADD_ON_VERSION): AddOn => ({ version, start: () => functions });
const broken = (): never => {
  throw new Error('/there/x.node: invalid ELF header. Rebuild it.');
};

describe('The choice of a backend', () => {
  it('takes the add-on where it is there, and JavaScript where it is not', () => {
    for (const setting of [undefined, '', '1']) {
      expect(chooseBackend(setting, () => addOn())).toEqual({
        backend: 'native',
        native: functions,
        absence: undefined,
      });
    }
    const choice = chooseBackend(undefined, () => undefined);
    expect(choice).toEqual({
      backend: 'javascript',
      native: undefined,
      absence: 'not installed',
    });
  });

  it('does not so much as load it when it is turned off', () => {
    const load = jest.fn(() => addOn());
    expect(chooseBackend('0', load)).toMatchObject({
      backend: 'javascript',
      absence: 'turned off',
    });
    expect(load).not.toHaveBeenCalled();
  });

  it.each([
    ['cannot be loaded', broken, 'invalid ELF header'],
    ['is of another version', () => addOn('9.9.9'), `is of version 9.9.9, this library works with`],
    ['does not start', () => ({ version: ADD_ON_VERSION, start: broken }), 'invalid ELF header'],
  ])('goes on with JavaScript, and knows why, where the add-on %s', (_how, load, reason) => {
    const choice = chooseBackend(undefined, load);
    expect(choice).toMatchObject({ backend: 'javascript', native: undefined });
    expect(reasonOf(choice)).toContain(reason);
  });

  it('refuses to go on without it where it is required, and names the file and the remedy', () => {
    const error = thrownBy(() => chooseBackend('1', broken));
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error.message).toContain('/there/x.node: invalid ELF header. Rebuild it.');
    expect(error.cause).toBeInstanceOf(Error);
    expect(() => chooseBackend('1', () => undefined)).toThrow('it is not installed');
  });

  it('refuses a setting that it does not know', () => {
    expect(() => chooseBackend('yes', () => addOn())).toThrow(ConfigurationError);
  });
});
