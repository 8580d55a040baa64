import { isConsistent } from '../audit/consistency-proof';
import type { TreeHead } from '../audit/merkle-tree';
import { ConfigurationError } from '../errors';

import { readCheckpoint } from './checkpoint';
import type { Checkpoint } from './checkpoint';
import { CONSISTENCY_FILE, readConsistency } from './consistency-file';
import { sha256Of } from './evidence-note';
import { leadsToLast, readKeyLine } from './key-line';
import type { KeyLine } from './key-line';
import { isSignedBy, readNote, readVerifierKey } from './signed-note';
import type { SignedNote, VerifierKey } from './signed-note';

type Said = (check: EvidenceCheck['check'], message: string) => EvidenceCheck;
const passed: Said = (check, message) => ({ check, ok: true, message });
const failed: Said = (check, message) => ({ check, ok: false, message });

/** What to verify, and with what. */
export interface EvidenceToVerify {
  /** The content of `report.note`. */
  readonly note: string | Uint8Array;
  /** The files beside it, by name. */
  readonly files: Readonly<Record<string, string | Uint8Array>>;
  /** A verifier key, as `keys public` prints it, which you have from elsewhere than the evidence. */
  readonly publicKey: string;
  /** An earlier note of the same installation: its log must be the beginning of this one's. */
  readonly checkpoint?: string | Uint8Array | undefined;
  /** The verifier key of a witness that must have cosigned. */
  readonly witness?: string | undefined;
}

/** One thing that was checked. */
export interface EvidenceCheck {
  readonly check: 'signature' | 'key' | 'files' | 'log' | 'consistency' | 'witness';
  readonly ok: boolean;
  /** What was found, in a sentence. */
  readonly message: string;
}

/** The result of a verification. */
export interface EvidenceVerification {
  /** Whether every check passed. */
  readonly ok: boolean;
  readonly checks: readonly EvidenceCheck[];
  /** What the note says; `null` unless its signature holds. */
  readonly note: {
    readonly application: string;
    readonly time: string;
    readonly tree: TreeHead;
  } | null;
}

/** A note of evidence as it was read. */
interface EvidenceNote {
  readonly signed: SignedNote;
  readonly checkpoint: Checkpoint;
  readonly application: string;
  readonly time: string;
  /** Where its log is broken, in words; undefined for one that holds. */
  readonly broken: string | undefined;
  readonly keys: readonly KeyLine[];
  /** SHA-256 by file name. */
  readonly hashes: ReadonlyMap<string, string>;
}

/**
 * Verifies evidence by itself: needs no database, no configuration and no KMS. Shows that the holder of the key signed
 * these files, and with an earlier checkpoint that the audit log only grew since. Whether what they say is true is
 * another matter.
 *
 * @throws {@link ConfigurationError} for a public key or the key of a witness that is none, and without files
 */
export function verifyEvidence(evidence: EvidenceToVerify): EvidenceVerification {
  const given = requireKey('publicKey', 'signer', evidence.publicKey);
  const witness =
    evidence.witness === undefined ? undefined : requireKey('witness', 'witness', evidence.witness);
  if (Object(evidence.files) !== evidence.files)
    throw new ConfigurationError('verifyEvidence: files must be the contents of files by name.');
  const note = readEvidence(evidence.note);
  if (note === undefined) {
    return { ok: false, checks: [failed('signature', 'This is no note of a report.')], note: null };
  }
  const signature = signatureCheck(note);
  const key = keyCheck(note, given);
  const isTrusted = signature.ok && key.ok;
  const checks = [
    signature,
    key,
    filesCheck(note, evidence.files),
    logCheck(note),
    ...(evidence.checkpoint === undefined
      ? []
      : [consistencyCheck(note, given, evidence.checkpoint, evidence.files)]),
    ...(witness === undefined ? [] : [witnessCheck(note, witness)]),
  ];
  const { application, time, checkpoint } = note;
  const tree = { size: checkpoint.size, root: checkpoint.root };
  const ok = checks.every((check) => check.ok);
  return { ok, checks, note: isTrusted ? { application, time, tree } : null };
}

function signatureCheck({ signed, keys }: EvidenceNote): EvidenceCheck {
  const signer = keys.at(-1)?.key;
  return signer !== undefined && isSignedBy(signed, signer)
    ? passed('signature', 'The note is signed by the key that it names last.')
    : failed('signature', 'The note was changed, or is not signed by the key that it names last.');
}

function keyCheck({ keys, application }: EvidenceNote, given: VerifierKey): EvidenceCheck {
  const from = keys.findIndex(({ key }) => isSameKey(key, given));
  if (from >= 0 && leadsToLast(application, keys.slice(from))) {
    const steps = keys.length - 1 - from;
    const way =
      steps === 0
        ? 'is the one that signs'
        : `leads to the one that signs, by ${String(steps)} rotations`;
    return passed('key', `The given key ${way}.`);
  }
  return failed(
    'key',
    'The given key neither signs nor leads to the key that does. After a revocation no key leads to the next one: get ' +
      'the new public key (`field-encryption keys public`) from somebody you trust.',
  );
}

function filesCheck({ hashes }: EvidenceNote, files: EvidenceToVerify['files']): EvidenceCheck {
  const missing = [...hashes.keys()].filter((name) => !Object.hasOwn(files, name));
  const others = Object.entries(files).filter(
    ([name, content]) => hashes.get(name) !== sha256Of(content),
  );
  const problems = [
    ...missing.map((name) => `${name} is missing`),
    ...others.map(([name]) => `${name} ${hashes.has(name) ? 'was changed' : 'is not in the note'}`),
  ];
  return problems.length === 0
    ? passed('files', `${String(hashes.size)} files are those of the note.`)
    : failed('files', `${problems.join('; ')}.`);
}

/** A broken log is as good as cut off where it breaks: its tree says nothing of what followed. */
function logCheck({ broken, checkpoint: { size } }: EvidenceNote): EvidenceCheck {
  return broken === undefined
    ? passed('log', `The audit log was unbroken: ${String(size)} entries.`)
    : failed('log', `The audit log was broken when this was written: ${broken}.`);
}

function consistencyCheck(
  note: EvidenceNote,
  given: VerifierKey,
  text: string | Uint8Array,
  files: EvidenceToVerify['files'],
): EvidenceCheck {
  const earlier = readEvidence(text);
  const { checkpoint: later } = note;
  if (earlier?.checkpoint.origin !== later.origin || !isGenuine(earlier, note, given)) {
    return failed(
      'consistency',
      'The earlier checkpoint is no note of this installation, or no key leads from it to the given one.',
    );
  }
  const before = earlier.checkpoint;
  const sizes = `${String(before.size)} of ${String(later.size)} entries`;
  if (before.size > later.size)
    return failed('consistency', `The log was truncated to fewer: ${sizes}.`);
  const proof = proofIn(files[CONSISTENCY_FILE], before.size, later.size);
  if (proof === undefined) {
    return failed(
      'consistency',
      `${CONSISTENCY_FILE} has no proof for ${sizes}. Make the report with --since that checkpoint.`,
    );
  }
  return isConsistent(before, later, proof)
    ? passed('consistency', `The log goes on from that of the earlier checkpoint: ${sizes}.`)
    : failed(
        'consistency',
        `The log was replaced: it does not begin with that of the checkpoint, ${sizes}.`,
      );
}

function proofIn(
  content: string | Uint8Array | undefined,
  from: number,
  to: number,
): readonly string[] | undefined {
  return from === to || from === 0 ? [] : readConsistency(content, from, to);
}

/** Whether a key that signed an earlier note leads from the given key, or to the one that signed the later note. */
function isGenuine(earlier: EvidenceNote, later: EvidenceNote, given: VerifierKey): boolean {
  const signer = earlier.keys.at(-1)?.key;
  if (signer === undefined || !signatureCheck(earlier).ok) return false;
  const isOnTheWay = later.keys.some(({ key }) => isSameKey(key, signer));
  return keyCheck(earlier, given).ok || (isOnTheWay && leadsToLast(later.application, later.keys));
}

function witnessCheck({ signed }: EvidenceNote, witness: VerifierKey): EvidenceCheck {
  return isSignedBy(signed, witness)
    ? passed('witness', `${witness.name} has cosigned.`)
    : failed('witness', `${witness.name} has not cosigned this note.`);
}

/** Reads a note; undefined for any text that this library did not write. */
function readEvidence(text: string | Uint8Array): EvidenceNote | undefined {
  const signed = readNote(text);
  const checkpoint = signed && readCheckpoint(signed.text);
  if (signed === undefined || checkpoint === undefined) return undefined;
  const [timeLine = '', installationLine = '', ...lines] = checkpoint.extensions;
  const [, time] = /^time (\S+)$/.exec(timeLine) ?? [];
  const application = decoded(/^installation (\S+)$/.exec(installationLine)?.[1]);
  const [, seq, problem] = /^broken (\d+) (\w+)$/.exec(lines[0] ?? '') ?? [];
  if (seq !== undefined) lines.shift();
  const files = lines.map((line) => /^sha256 ([0-9a-f]{64}) ([\w.-]+)$/.exec(line));
  const keys = lines.map(readKeyLine).filter((line) => line !== undefined);
  const hashes = new Map(
    files.flatMap((match) => (match === null ? [] : [[match[2] ?? '', match[1] ?? ''] as const])),
  );
  if (time === undefined || application === undefined) return undefined;
  if (keys.length + hashes.size !== lines.length) return undefined;
  if (!keys.every(({ key: { name, type } }) => name === checkpoint.origin && type === 'signer'))
    return undefined;
  const broken =
    seq === '0'
      ? 'the key table does not agree with it'
      : seq && `entry ${seq}, ${String(problem)}`;
  return { signed, checkpoint, application, time, broken, keys, hashes };
}

function decoded(text: string | undefined): string | undefined {
  try {
    return text === undefined ? undefined : decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

function isSameKey(a: VerifierKey, b: VerifierKey): boolean {
  return a.name === b.name && a.type === b.type && Buffer.from(a.publicKey).equals(b.publicKey);
}

const EXAMPLES = { signer: 'clinic/audit-log+530d903a+A…', witness: 'w.example/w1+7a2f60b1+B…' };

function requireKey(option: string, type: VerifierKey['type'], text: string): VerifierKey {
  const key = typeof (text as unknown) === 'string' ? readVerifierKey(text) : undefined;
  if (key?.type === type) return key;
  throw new ConfigurationError(
    `verifyEvidence: ${option} is no verifier key of a ${type}, such as ${EXAMPLES[type]}.`,
  );
}
