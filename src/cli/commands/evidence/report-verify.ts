import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { Command } from 'commander';

import { verifyEvidence } from '../../../evidence/verify-evidence';
import { NOTE_FILE } from '../../../evidence/write-evidence';
import { EXIT_CODES } from '../../terminal/command-error';
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
    const { checkpoint } = flags;
    const verified = verifyEvidence({
      note: reading(note, () => readFileSync(note)),
      files: filesBeside(note),
      publicKey: keyOf(flags.publicKey),
      ...(checkpoint === undefined ? {} : { checkpoint: readText(checkpoint) }),
      ...(flags.witness === undefined ? {} : { witness: keyOf(flags.witness) }),
    });
    const lines = verified.checks.map(
      ({ ok, message }) => `${ok ? 'ok    ' : 'FAILED'} ${message}`,
    );
    return {
      document: verified,
      text: [...lines, verified.ok ? 'Verified.' : 'NOT verified.'].join('\n'),
      exitCode: verified.ok ? EXIT_CODES.done : EXIT_CODES.failed,
    };
  };
}

/** Reads the files in the folder of a note, but itself. */
function filesBeside(note: string): Record<string, Buffer> {
  const folder = dirname(note);
  const files = readdirSync(folder, { withFileTypes: true }).filter(
    (entry) => entry.isFile() && entry.name !== basename(note),
  );
  return Object.fromEntries(files.map(({ name }) => [name, readFileSync(join(folder, name))]));
}

/** Returns a verifier key that is given itself, or in a file: the last line of that. */
function keyOf(given: string): string {
  return existsSync(given) ? (readText(given).trim().split('\n').at(-1) ?? '') : given;
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
