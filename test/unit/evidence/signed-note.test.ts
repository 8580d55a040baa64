import { ed25519Key } from '../../../src/crypto/ed25519';
import { readCheckpoint, checkpointText } from '../../../src/evidence/checkpoint';
import {
  isSignedBy,
  noteOf,
  readNote,
  readVerifierKey,
  signatureLine,
  verifierKeyText,
} from '../../../src/evidence/signed-note';
import type { SignedNote, VerifierKey } from '../../../src/evidence/signed-note';

/** The example of https://c2sp.org/signed-note. */
const KEY = 'example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k';
const NOTE = [
  'This is an example message.',
  '',
  '— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=',
  '',
].join('\n');

const own = ed25519Key(Buffer.alloc(32, 1));
const ownKey: VerifierKey = { name: 'clinic/audit-log', type: 'signer', publicKey: own.publicKey };

function keyOf(text: string): VerifierKey {
  const key = readVerifierKey(text);
  if (key === undefined) throw new Error('this is no verifier key');
  return key;
}

function read(note: string | Uint8Array): SignedNote {
  const found = readNote(note);
  if (found === undefined) throw new Error('this is no note');
  return found;
}

/** A cosignature/v1 as a witness adds it. */
function cosigned(text: string, witness: VerifierKey, seed: number, time: bigint): string {
  const signature = ed25519Key(Buffer.alloc(32, seed)).sign(
    Buffer.from(`cosignature/v1\ntime ${String(time)}\n${text}`),
  );
  const stamp = Buffer.alloc(8);
  stamp.writeBigUInt64BE(time);
  return signatureLine(witness, Buffer.concat([stamp, signature]));
}

describe('A signed note', () => {
  it('is the one of the specification', () => {
    const note = read(NOTE);
    expect(note.text).toBe('This is an example message.\n');
    expect(isSignedBy(note, keyOf(KEY))).toBe(true);
    expect(verifierKeyText(keyOf(KEY))).toBe(KEY);
  });

  it('does not verify once a byte was changed', () => {
    const bytes = Buffer.from(NOTE);
    for (const at of bytes.keys()) {
      const changed = Buffer.from(bytes);
      changed[at] = (changed[at] ?? 0) ^ 1;
      const note = readNote(changed);
      expect(note !== undefined && isSignedBy(note, keyOf(KEY))).toBe(false);
    }
  });

  it('keeps empty lines of its text', () => {
    const text = 'one\n\ntwo\n';
    const note = read(noteOf(text, [signatureLine(ownKey, own.sign(Buffer.from(text)))]));
    expect(note.text).toBe(text);
    expect(isSignedBy(note, ownKey)).toBe(true);
  });

  it('ignores signatures by other keys, and refuses a wrong one beside a right one', () => {
    const text = 'one\n';
    const right = signatureLine(ownKey, own.sign(Buffer.from(text)));
    const wrong = signatureLine(ownKey, own.sign(Buffer.from('two\n')));
    const foreign = signatureLine({ ...ownKey, name: 'elsewhere' }, Buffer.alloc(64));
    expect(isSignedBy(read(noteOf(text, [foreign, right])), ownKey)).toBe(true);
    expect(isSignedBy(read(noteOf(text, [foreign])), ownKey)).toBe(false);
    expect(isSignedBy(read(noteOf(text, [right, wrong])), ownKey)).toBe(false);
  });

  it('takes the cosignature of a witness for its time and text alone', () => {
    const witness: VerifierKey = {
      name: 'witness.example/w1',
      type: 'witness',
      publicKey: ed25519Key(Buffer.alloc(32, 2)).publicKey,
    };
    const text = 'origin\n1\n2\n';
    const line = cosigned(text, witness, 2, 1_679_315_147n);
    const right = signatureLine(ownKey, own.sign(Buffer.from(text)));
    expect(isSignedBy(read(noteOf(text, [right, line])), witness)).toBe(true);
    expect(isSignedBy(read(noteOf(text, [right, line])), ownKey)).toBe(true);
    expect(isSignedBy(read(noteOf('origin\n2\n2\n', [right, line])), witness)).toBe(false);
    expect(isSignedBy(read(noteOf(text, [line])), { ...witness, type: 'signer' })).toBe(false);
    expect(isSignedBy(read(noteOf(text, [signatureLine(witness, Buffer.alloc(4))])), witness)).toBe(
      false,
    );
    expect(keyOf(verifierKeyText(witness))).toEqual(witness);
  });

  it.each([
    ['without signatures', 'text\n'],
    ['without the newline at its end', NOTE.slice(0, -1)],
    ['with a control character', NOTE.replace('example message', 'example\tmessage')],
    ['with a signature that is not base64', NOTE.replace('Uw2Q', 'U-2Q')],
    ['with a line that is no signature', `${NOTE}note\n`],
    ['with a plus in the name of a key', NOTE.replace('— example.com', '— example+com')],
    ['that is not UTF-8', Buffer.from([...Buffer.from('a'), 0xff, ...Buffer.from(NOTE)])],
  ])('is not read %s', (_, note) => {
    expect(readNote(note)).toBeUndefined();
  });

  it.each([
    ['of another id', KEY.replace('530d903a', '530d903b')],
    ['of another algorithm', KEY.replace('+Ae', '+Be')],
    ['for which anybody can sign', 'x+00000000+AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'],
    ['without a name', KEY.replace('example.com/foo', '')],
  ])('has no verifier key %s', (_, text) => {
    expect(readVerifierKey(text)).toBeUndefined();
  });
});

describe('A checkpoint', () => {
  const root = 'CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=';
  const text = `example.com/behind-the-sofa\n20852163\n${root}\n`;

  it('is read as the specification shows it, with extension lines', () => {
    const found = readCheckpoint(`${text}time x\n`);
    expect(found).toEqual({
      origin: 'example.com/behind-the-sofa',
      size: 20_852_163,
      root,
      extensions: ['time x'],
    });
    expect(found && checkpointText(found)).toBe(`${text}time x\n`);
  });

  it.each([
    ['with a leading zero', text.replace('\n2', '\n02')],
    ['with a root of another length', text.replace(root, 'CsUY')],
    ['without an origin', text.replace('example.com/behind-the-sofa', '')],
    ['with an empty extension line', `${text}\n`],
    ['without its last newline', text.slice(0, -1)],
  ])('is not read %s', (_, wrong) => {
    expect(readCheckpoint(wrong)).toBeUndefined();
  });
});
