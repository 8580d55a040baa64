import { createHash } from 'node:crypto';

import { ED25519_PUBLIC_KEY_BYTES, isSmallOrderPoint, verifyEd25519 } from '../crypto/ed25519';
import { decodeBase64 } from '../encoding/base64url';

/** What a line of a note is signed with: its text as such, or the statement of a witness about it. */
export type NoteKeyType = 'signer' | 'witness';

/** A key that signs notes (https://c2sp.org/signed-note, "Verifier keys"). */
export interface VerifierKey {
  readonly name: string;
  readonly type: NoteKeyType;
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
}

/** A signature of a note, by a key that may be unknown. */
interface NoteSignature {
  readonly name: string;
  /** 4 bytes. */
  readonly keyId: Buffer;
  readonly signature: Buffer;
}

/** A note as it was read. Its text is to be believed only once a signature was verified. */
export interface SignedNote {
  /** All up to the empty line before the signatures. */
  readonly text: string;
  readonly signatures: readonly NoteSignature[];
}

/** The bytes of https://c2sp.org/signed-note, "Signature types": Ed25519, and cosignature/v1 of witnesses. */
const TYPE_BYTES: Readonly<Record<NoteKeyType, number>> = { signer: 0x01, witness: 0x04 };
const KEY_ID_BYTES = 4;
const TIME_BYTES = 8;
const MAX_NOTE_CHARS = 2 ** 20;
const MAX_SIGNATURES = 100;

/** Returns the text of a key, `<name>+<id>+<base64>`. */
export function verifierKeyText(key: VerifierKey): string {
  const bytes = Buffer.concat([Buffer.of(TYPE_BYTES[key.type]), key.publicKey]);
  return `${key.name}+${keyIdOf(key).toString('hex')}+${bytes.toString('base64')}`;
}

/** Reads the text of a key; undefined for any other. */
export function readVerifierKey(text: string): VerifierKey | undefined {
  const [, name = '', id, encoded = ''] =
    /^([^+\s]+)\+([0-9a-f]{8})\+(\S+)$/u.exec(text.trim()) ?? [];
  const bytes = decodeBase64(encoded);
  const type = bytes?.[0] === TYPE_BYTES.witness ? 'witness' : 'signer';
  if (bytes?.length !== 1 + ED25519_PUBLIC_KEY_BYTES || bytes[0] !== TYPE_BYTES[type])
    return undefined;
  const key = { name, type, publicKey: bytes.subarray(1) } as const;
  const isKey = keyIdOf(key).toString('hex') === id && !isSmallOrderPoint(key.publicKey);
  return isKey ? key : undefined;
}

/** Returns a text as a note with signature lines. */
export function noteOf(text: string, lines: readonly string[]): string {
  return `${text}\n${lines.join('')}`;
}

/** Returns the line of a signature of a text by a key. */
export function signatureLine(key: VerifierKey, signature: Uint8Array): string {
  return `— ${key.name} ${Buffer.concat([keyIdOf(key), signature]).toString('base64')}\n`;
}

/** Reads a note; undefined for what is none. */
export function readNote(note: string | Uint8Array): SignedNote | undefined {
  const whole = typeof note === 'string' ? note : utf8(note);
  if (whole === undefined || whole.length > MAX_NOTE_CHARS || /(?!\n)\p{Cc}/u.test(whole))
    return undefined;
  const end = whole.lastIndexOf('\n\n');
  const lines = whole.slice(end + 2).split('\n');
  if (end < 0 || lines.pop() !== '' || lines.length > MAX_SIGNATURES) return undefined;
  const signatures = lines.map(readSignature).filter((signature) => signature !== undefined);
  if (signatures.length === 0 || signatures.length < lines.length) return undefined;
  return { text: whole.slice(0, end + 1), signatures };
}

/**
 * Whether a note is signed by a key. With several signatures of the name and id of the key, all have to hold.
 * Signatures by other keys are ignored.
 */
export function isSignedBy({ text, signatures }: SignedNote, key: VerifierKey): boolean {
  const id = keyIdOf(key);
  const own = signatures.filter(({ name, keyId }) => name === key.name && keyId.equals(id));
  return own.length > 0 && own.every(({ signature }) => holds(text, key, signature));
}

function holds(text: string, { type, publicKey }: VerifierKey, signature: Buffer): boolean {
  if (type === 'signer') return verifyEd25519(publicKey, Buffer.from(text), signature);
  if (signature.length < TIME_BYTES) return false;
  const time = signature.readBigUInt64BE();
  // https://c2sp.org/tlog-cosignature, "Ed25519 signed message"
  const message = Buffer.from(`cosignature/v1\ntime ${String(time)}\n${text}`);
  return verifyEd25519(publicKey, message, signature.subarray(TIME_BYTES));
}

function keyIdOf({ name, type, publicKey }: VerifierKey): Buffer {
  const hash = createHash('sha256').update(`${name}\n`).update(Buffer.of(TYPE_BYTES[type]));
  return hash.update(publicKey).digest().subarray(0, KEY_ID_BYTES);
}

function readSignature(line: string): NoteSignature | undefined {
  const [, name = '', encoded = ''] = /^— ([^+\s]+) (\S+)$/u.exec(line) ?? [];
  const bytes = decodeBase64(encoded);
  if (bytes === undefined || bytes.length <= KEY_ID_BYTES) return undefined;
  return { name, keyId: bytes.subarray(0, KEY_ID_BYTES), signature: bytes.subarray(KEY_ID_BYTES) };
}

function utf8(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}
