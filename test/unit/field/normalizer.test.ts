import { InvalidFieldPolicyError } from '../../../src/errors';
import type { Normalizer, NormalizerName } from '../../../src/field/normalizer';
import { resolveNormalizer } from '../../../src/field/normalizer';
import { thrownBy } from '../../support/field-fixtures';

/**
 * What version 1 of each rule answers, on every Node.js. A line that changes makes every index built
 * with that rule wrong: add lines, raise the version rather than change one.
 */
const GOLDEN: Readonly<Record<NormalizerName, readonly (readonly [string, string])[]>> = {
  exact: [
    ['', ''],
    [' Ada ', ' Ada '],
    ['e\u0301', 'e\u0301'],
  ],
  'case-insensitive': [
    ['', ''],
    [' Ada ', ' ada '],
    ['ß', 'ss'],
    ['ẞ', 'ss'],
    ['SS', 'ss'],
    ['STRASSE', 'strasse'],
    ['Straße', 'strasse'],
    ['ΑΣ', 'ασ'],
    ['ας', 'ασ'],
    ['ασ', 'ασ'],
    ['İ', 'i\u0307'],
    ['I', 'i'],
    ['ﬁ', 'fi'],
    ['Ⅷ', 'viii'],
    ['①', '1'],
    ['ＡＤＡ', 'ada'],
    ['E\u0301', 'é'],
    ['É', 'é'],
    ['Å', 'å'],
    ['ǅ', 'dž'],
    ['Ω', 'ω'],
  ],
  email: [
    ['Ada@Example.org', 'ada@example.org'],
    ['  ada@example.org\t\n', 'ada@example.org'],
    ['\u00a0ada@example.org\u3000', 'ada@example.org'],
    ['ADA@ＥＸＡＭＰＬＥ.ORG', 'ada@example.org'],
    ['ada lovelace@example.org', 'ada lovelace@example.org'],
    ['ada+tag@example.org', 'ada+tag@example.org'],
  ],
  digits: [
    ['', ''],
    ['078-05-1120', '078051120'],
    ['+44 (0)20 7946 0018', '4402079460018'],
    ['０７８', '078'],
    ['²', '2'],
    ['none', ''],
  ],
};

describe.each(Object.keys(GOLDEN) as NormalizerName[])('the %s normalizer', (name) => {
  const normalizer = resolveNormalizer(name);

  it.each(GOLDEN[name])('turns %j into %j', (value, expected) => {
    expect(normalizer.normalize(value)).toBe(expected);
  });

  it('is version 1 under its own name', () => {
    expect(normalizer).toMatchObject({ id: name, version: 1 });
    expect(Object.isFrozen(normalizer)).toBe(true);
  });
});

describe('case folding', () => {
  const { normalize } = resolveNormalizer('case-insensitive');

  it('changes no assigned code point any further when asked again', () => {
    const unstable: string[] = [];
    for (let codePoint = 0; codePoint <= 0x1ffff; codePoint += 1) {
      const character = String.fromCodePoint(codePoint);
      if (/\p{Cn}|\p{Cs}/u.test(character)) continue;
      const once = normalize(character);
      if (normalize(once) !== once) unstable.push(codePoint.toString(16));
    }
    expect(unstable).toEqual([]);
  });

  it('treats ASCII alone as it does beside other characters', () => {
    const ascii = String.fromCharCode(...Array.from({ length: 128 }, (_, code) => code));
    expect(normalize(`${ascii}é`)).toBe(`${normalize(ascii)}é`);
  });

  it.each([
    ['an unassigned code point', '\u0378'],
    ['a noncharacter', '\uffff'],
  ])('refuses %s, whose case may yet be defined', (_, value) => {
    expect(() => normalize(value)).toThrow('has not assigned');
  });
});

describe('the digits normalizer', () => {
  it('refuses digits of another script rather than drop them', () => {
    expect(() => resolveNormalizer('digits').normalize('٠٧٨')).toThrow('digits other than 0 to 9');
  });
});

describe('resolveNormalizer', () => {
  const custom: Normalizer = { id: 'acme-badge', version: 2, normalize: (value) => value.trim() };

  it('takes a custom normalizer as it is', () => {
    expect(resolveNormalizer(custom)).toBe(custom);
  });

  it.each<[string, unknown, string]>([
    ['an unknown name', 'phone', 'an unknown normalizer "phone"'],
    ['an inherited name', 'toString', 'an unknown normalizer "toString"'],
    ['nothing', null, 'an id of 1 to 64 characters'],
    ['an empty id', { ...custom, id: '' }, 'an id of 1 to 64 characters'],
    ['the id of a built-in rule', { ...custom, id: 'email' }, 'does not begin with "email"'],
    ['an id that begins like one', { ...custom, id: 'exact-2' }, 'does not begin with "exact"'],
    ['version 0', { ...custom, version: 0 }, 'a version that is a whole number'],
    ['no version', { id: 'a', normalize: custom.normalize.bind(custom) }, 'a version'],
    ['no function', { id: 'a', version: 1 }, 'a normalize function'],
  ])('refuses %s', (_, normalize, problem) => {
    const error = thrownBy(() => resolveNormalizer(normalize as Normalizer));
    expect(error).toBeInstanceOf(InvalidFieldPolicyError);
    expect(error.code).toBe('ERR_FIELD_POLICY');
    expect(error.message).toContain(problem);
  });
});
