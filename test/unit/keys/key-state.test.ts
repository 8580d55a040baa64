import { KeyStateError } from '../../../src/errors';
import { isReadable, KEY_STATES } from '../../../src/keys/record/key-state';
import { requireTransition } from '../../../src/keys/lifecycle/key-transition';
import type { KeyState } from '../../../src/keys/record/key-state';

const STATES = Object.keys(KEY_STATES) as KeyState[];
/** SP 800-57 part 1 rev. 5, figure 4, without active to destroyed. */
const LEGAL = new Set([
  'preActive>active',
  'preActive>compromised',
  'preActive>destroyed',
  'active>suspended',
  'active>deactivated',
  'active>compromised',
  'suspended>active',
  'suspended>deactivated',
  'suspended>compromised',
  'suspended>destroyed',
  'deactivated>compromised',
  'deactivated>destroyed',
  'compromised>destroyed',
]);
const PAIRS = STATES.flatMap((from) => STATES.map((to): [KeyState, KeyState] => [from, to]));
const KEY = { id: '00112233445566aa', name: 'default', purpose: 'data', version: 3 } as const;

describe('requireTransition', () => {
  it.each(PAIRS)('knows whether %s may become %s', (state, to) => {
    const transition = () => requireTransition({ ...KEY, state }, to);
    if (LEGAL.has(`${state}>${to}`)) expect(transition).not.toThrow();
    else expect(transition).toThrow(KeyStateError);
  });

  it('refuses a state that this version does not know', () => {
    const state = 'constructor' as KeyState;
    expect(() => requireTransition({ ...KEY, state }, 'destroyed')).toThrow(KeyStateError);
    expect(isReadable(state)).toBe(false);
  });
});

describe('isReadable', () => {
  it('is true of every state but destroyed', () => {
    expect(STATES.filter((state) => !isReadable(state))).toEqual(['destroyed']);
  });
});
