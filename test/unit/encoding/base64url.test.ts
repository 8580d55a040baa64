import { decodeBase64url, encodeBase64url } from '../../../src/encoding/base64url';

describe('decodeBase64url', () => {
  it.each(['', 'AQ', 'AQI', 'AQID', '-_-_'])('reads back canonical %j', (text) => {
    const bytes = decodeBase64url(text);
    expect(bytes && encodeBase64url(bytes)).toBe(text);
  });

  it.each([
    ['padding', 'AQ=='],
    ['the other alphabet', '+/+/'],
    ['white space', 'AQ ID'],
    ['a trailing line feed', 'AQID\n'],
    ['stray bits in the last character', 'AR'],
    ['a single character too many', 'AQIDA'],
    ['a character that Node.js cuts down to its low byte', 'AQI\u0144'],
    ['a character from outside ASCII', 'AQI\u00e9'],
  ])('refuses %s', (_, text) => {
    expect(decodeBase64url(text)).toBeUndefined();
  });
});

describe('encodeBase64url', () => {
  it('encodes a view without its surroundings', () => {
    const view = Uint8Array.of(9, 1, 2, 3, 9).subarray(1, 4);
    expect(encodeBase64url(view)).toBe('AQID');
  });
});
