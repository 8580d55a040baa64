import { createHash } from 'node:crypto';

import { FOR_SIGNATURES, requireFips } from '../crypto/fips';
import { ConfigurationError } from '../errors';
import type { AuditReport } from '../keys/audit/audit-report';
import type { HistoryStep } from '../keys/signing/key-history';
import type { SigningKeyName } from '../keys/signing/signing-keys';
import type { Installation } from '../typeorm/installation/installation';

import { checkpointText } from './checkpoint';
import { writeKeyLine } from './key-line';
import type { KeyLine } from './key-line';
import { isSignedBy, noteOf, readNote, signatureLine } from './signed-note';

/** The key that signs notes. */
export const REPORTS: SigningKeyName = 'reports';

const PURPOSES: Readonly<Record<SigningKeyName, string>> = {
  reports: 'audit-log',
  documents: 'documents',
};

/** Returns the name of a signing key in notes and verifier keys; of that of reports, also the origin of the log. */
export function signerName(application: string, name: SigningKeyName): string {
  return `${encodeURIComponent(Buffer.from(application).toString())}/${PURPOSES[name]}`;
}

/** What a note is to say. */
export interface EvidenceNoteContent {
  /** The audit log as it was verified, which may be broken. */
  readonly log: Pick<AuditReport, 'ok' | 'tree' | 'broken'>;
  /** When that was collected, ISO 8601. */
  readonly time: string;
  /** The SHA-256 of each file, in hexadecimal, by its name. */
  readonly digests: Readonly<Record<string, string>>;
}

/**
 * Writes a signed note about files: a checkpoint of the audit log (https://c2sp.org/tlog-checkpoint), whose extension
 * lines name the time, the installation, the keys that lead to the one that signs, and the SHA-256 of each file.
 *
 * @throws {@link ConfigurationError} for file names that a line cannot hold, and where the option `signer` returns a wrong
 * signature; what signing throws
 */
export async function writeEvidenceNote(
  installation: Pick<Installation, 'keys' | 'options'>,
  { log: { ok, tree, broken }, time, digests }: EvidenceNoteContent,
): Promise<string> {
  const { application } = installation.options;
  const origin = signerName(application, REPORTS);
  const history = await historyLines(installation);
  const extensions = [
    `time ${time}`,
    `installation ${encodeURIComponent(Buffer.from(application).toString())}`,
    ...(ok ? [] : [`broken ${String(broken?.seq ?? 0)} ${broken?.problem ?? 'keyTable'}`]),
    ...history.map(writeKeyLine),
    ...Object.entries(digests).map(([name, digest]) => fileLine(name, digest)),
  ];
  const text = checkpointText({ origin, ...tree, extensions });
  const signer = history.at(-1)?.key;
  const signature = await signText(installation, text);
  const note = signer === undefined ? '' : noteOf(text, [signatureLine(signer, signature)]);
  const read = readNote(note);
  if (signer !== undefined && read !== undefined && isSignedBy(read, signer)) return note;
  throw new ConfigurationError(
    'report: the signature does not hold. If it is of the option `signer`, its public key must be that of its signatures; ' +
      'otherwise the key was rotated meanwhile: try again.',
  );
}

/** Returns the SHA-256 of a file in hexadecimal. */
export function sha256Of(content: string | Uint8Array): string {
  return createHash('sha256').update(content).digest('hex');
}

function fileLine(name: string, digest: string): string {
  if (/^[\w.-]{1,255}$/.test(name)) return `sha256 ${digest} ${name}`;
  throw new ConfigurationError('report: the name of a file has letters, digits and ".-_" only.');
}

async function historyLines({
  keys,
  options: { application, signer },
}: Pick<Installation, 'keys' | 'options'>): Promise<KeyLine[]> {
  const common = { name: signerName(application, REPORTS), type: 'signer' } as const;
  if (signer !== undefined) return [{ key: { ...common, publicKey: signer.publicKey } }];
  const history = await keys.signing.history(REPORTS);
  return history.map(({ publicKey, ...step }: HistoryStep) => ({
    key: { ...common, publicKey },
    step,
  }));
}

async function signText(
  { keys, options }: Pick<Installation, 'keys' | 'options'>,
  text: string,
): Promise<Uint8Array> {
  const bytes = Buffer.from(text);
  if (options.signer !== undefined) return options.signer.sign(bytes);
  requireFips(options.profile, FOR_SIGNATURES);
  return (await keys.signing.sign(REPORTS, bytes)).signature;
}
