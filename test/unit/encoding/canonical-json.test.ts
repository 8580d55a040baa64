import { shownJson } from '../../../src/approvals/shown-json';
import { canonicalJson } from '../../../src/encoding/canonical-json';
import type { CanonicalValue } from '../../../src/encoding/canonical-json';
import { UnsupportedValueError } from '../../../src';

describe('Canonical JSON', () => {
  it('is as RFC 8785 shows it', () => {
    const value = {
      numbers: [333333333.33333329, 1e30, 4.5, 2e-3, 0.000000000000000000000000001, -0],
      string: '€$\u000f\nA\'B"\\\\"/',
      literals: [null, true, false],
    };
    expect(canonicalJson(value)).toBe(
      String.raw`{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27,0],"string":"€$\u000f\nA'B\"\\\\\"/"}`,
    );
    const named = { '€': 'Euro', '\r': 'CR', '\ufb33': 'Hebrew', 1: 'One', '😀': 'Emoji', ö: 'o' };
    expect(canonicalJson(named)).toBe(
      String.raw`{"\r":"CR","1":"One","ö":"o","€":"Euro","😀":"Emoji","${'\ufb33'}":"Hebrew"}`,
    );
    expect(canonicalJson({ b: undefined, a: { d: 1, c: [] } })).toBe('{"a":{"c":[],"d":1}}');
  });

  it.each<[string, CanonicalValue]>([
    ['a number that JSON does not have', [Number.NaN]],
    ['text that runs backwards', { reason: 'no\u202eyes' }],
    ['a hidden control character', { '\u0085': 1 }],
    ['half of a character', '\ud800'],
    ['a space without width', 'ward\u200b'],
    ['a blank Braille pattern', '\u2800'],
    ['a filler', '\u3164'],
    ['a tag', '\u{e0041}'],
  ])('does not show those who approve %s', (_, value) => {
    expect(() => shownJson(value)).toThrow(UnsupportedValueError);
  });
});
