import { generateKeyPairSync } from 'node:crypto';
import { readPublicKeyLine } from '../../../src/approvals/ssh/ssh-public-key';
import { field } from '../../support/ssh-signer';

const lineOf = (type: string, ...fields: Buffer[]): string =>
  `${type} ${Buffer.concat([field(type), ...fields.map(field)]).toString('base64')} ada@laptop`;

/** A number as an SSH message has it. */
function number(hex: string): Buffer {
  const bytes = Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex');
  return (bytes[0] ?? 0) < 0x80 ? bytes : Buffer.concat([Buffer.of(0), bytes]);
}

const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const { n = '' } = publicKey.export({ format: 'jwk' });
const modulus = Buffer.from(n, 'base64url').toString('hex');

describe('A public key of OpenSSH', () => {
  it('is read', () => {
    const line = lineOf('ssh-rsa', number('010001'), number(modulus));
    expect(readPublicKeyLine(line).length).toBeGreaterThan(256);
  });

  it.each([
    ['the identity, with which anybody signs', Buffer.from(`01${'00'.repeat(31)}`, 'hex')],
    ['its other form', Buffer.from(`01${'00'.repeat(30)}80`, 'hex')],
    ['a point of order 2', Buffer.from(`ec${'ff'.repeat(30)}7f`, 'hex')],
    [
      'a point of order 8',
      Buffer.from('c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a', 'hex'),
    ],
  ])('of Ed25519 is not %s', (_, point) => {
    expect(() => readPublicKeyLine(lineOf('ssh-ed25519', point))).toThrow(/small order/);
  });

  it.each([
    ['the exponent 1', '01', modulus],
    ['the exponent 3', '03', modulus],
    ['an even modulus', '010001', `${modulus.slice(0, -1)}0`],
    ['a huge modulus', '010001', `${'f'.repeat(4200)}${modulus}`],
  ])('of RSA does not have %s', (_, exponent, wrong) => {
    const line = lineOf('ssh-rsa', number(exponent), number(wrong));
    expect(() => readPublicKeyLine(line)).toThrow(RangeError);
  });
});
