import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { Command } from 'commander';

import { readVerifierKey } from '../../../evidence/signed-note';
import { verifyEvidence } from '../../../evidence/verify-evidence';
import type { EvidenceToVerify, EvidenceVerification } from '../../../evidence/verify-evidence';
import { NOTE_FILE } from '../../../evidence/evidence-folder';
import { CommandError, EXIT_CODES } from '../../terminal/command-error';
import { reading, readText } from '../../terminal/named-file';
import type { ChooseOffline, OfflineWork } from '../common-options';

interface VerifyFlags {
  readonly publicKey: string;
  readonly checkpoint?: string;
  readonly witness?: string;
}

/** Verifies a folder of evidence, or the one that a note is in. Needs no DataSource. */
function reportVerify(path: string, flags: VerifyFlags): OfflineWork {
  return () => {
    const isFolder = reading(path, () => statSync(path)).isDirectory();
    const note = isFolder ? join(path, NOTE_FILE) : path;
    if (!reading(note, () => statSync(note)).isFile()) throw notAFile(note);
    const verified = verifiedBy(flags, {
      note: reading(note, () => readFileSync(note)),
      files: filesBeside(note),
    });
    const lines = verified.checks.map(
      ({ ok, message }) => `${ok ? 'ok    ' : 'FAILED'} ${message.replace(/\p{Cc}/gu, '?')}`,
    );
    return {
      document: verified,
      text: [...lines, ...subjectOf(verified), verified.ok ? 'Verified.' : 'NOT verified.'].join(
        '\n',
      ),
      exitCode: verified.ok ? EXIT_CODES.done : EXIT_CODES.failed,
    };
  };
}

/** Tells what was verified: an old report is as genuine as today's. */
function subjectOf({ note }: EvidenceVerification): string[] {
  if (note === null) return [];
  const { application, time, tree } = note;
  return [
    `Of ${JSON.stringify(application)}, ${time}: a log of ${String(tree.size)} entries, ${tree.root}`,
  ];
}

/** Verifies by each of the keys that are given, up to one that does. */
function verifiedBy(
  { publicKey, checkpoint, witness }: VerifyFlags,
  evidence: Pick<EvidenceToVerify, 'note' | 'files'>,
): EvidenceVerification {
  const expected = {
    checkpoint: checkpoint === undefined ? undefined : readText(checkpoint),
    witness: witness === undefined ? undefined : keysOf(witness).at(-1),
  };
  const all = keysOf(publicKey).map((key) =>
    verifyEvidence({ ...evidence, ...expected, publicKey: key }),
  );
  const verified = all.find(({ ok }) => ok) ?? all.at(-1);
  if (verified === undefined) throw noKey();
  return verified;
}

/** Reads the files in the folder of a note, but itself. */
function filesBeside(note: string): Record<string, Buffer> {
  const folder = dirname(note);
  const entries = readdirSync(folder, { withFileTypes: true }).filter(
    ({ name }) => name !== basename(note),
  );
  return Object.fromEntries(
    entries.map((entry) => {
      const path = join(folder, entry.name);
      // Behind a link, its reader could find something else than what was verified.
      if (!entry.isFile()) throw notAFile(path);
      return [entry.name, reading(path, () => readFileSync(path))];
    }),
  );
}

/**
 * Returns a verifier key that is given itself, whatever files there are; or all in a file, as `keys public` prints one for
 * each version, but those that it says are compromised.
 */
function keysOf(given: string): string[] {
  if (readVerifierKey(given) !== undefined || !existsSync(given)) return [given];
  const lines = readText(given).trim().split('\n');
  const trusted = lines.filter((line) => !/\scompromised:/.test(line));
  return trusted.flatMap((line) => line.trim().split(/\s/)[0] ?? []).filter((key) => key !== '');
}

function notAFile(note: string): CommandError {
  return new CommandError(
    'ERR_USAGE',
    `${note} is no regular file.`,
    'Give a folder with the files of the evidence and nothing else, or its note.',
  );
}

function noKey(): CommandError {
  return new CommandError(
    'ERR_USAGE',
    'The file of the public key has none that is not compromised.',
    'Write it with `keys public`.',
  );
}

/** Adds the command that verifies evidence. */
export function addReportVerify(report: Command, chooseOffline: ChooseOffline): void {
  report
    .command('verify <path>')
    .description('verify a folder of evidence by a public key alone: needs no database and no KMS')
    .requiredOption('--public-key <key>', 'a verifier key, as `keys public` prints it, or its file')
    .option(
      '--checkpoint <note>',
      'an earlier report.note, from whose audit log this one must go on',
    )
    .option('--witness <key>', 'the verifier key of a witness that must have cosigned')
    .action((path: string, flags: VerifyFlags) => {
      chooseOffline(reportVerify(path, flags));
    });
}
