import { createHash } from 'node:crypto';
import { lstat, mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { ConfigurationError } from '../errors';
import type { Installation } from '../typeorm/installation/installation';

import { collectReport } from './collect-report';
import type { ReportOptions } from './collect-report';
import { CONSISTENCY_FILE, writeConsistency } from './consistency-file';
import { writeEvidenceNote } from './evidence-note';
import { RENDERINGS, REPORT_FORMATS } from './renderings/renderings';
import type { ListEntries, Rendering, ReportFormat } from './renderings/renderings';
import type { EvidenceReport } from './report';

/** Name of the signed note in the folder. */
export const NOTE_FILE = 'report.note';

/** Options of {@link FieldEncryption.writeEvidence}. */
export interface EvidenceOptions extends ReportOptions {
  /** The forms of the report. Defaults to all. */
  readonly formats?: readonly ReportFormat[];
}

/** What was written. */
export interface WrittenEvidence {
  readonly report: EvidenceReport;
  /** Paths of the files, that of the signed note last. */
  readonly files: readonly string[];
}

/** Ends the names of files that are not complete. */
const PART = '.part';

const ALL_FILES = [
  ...Object.values(RENDERINGS).map(({ file }) => file),
  ...[CONSISTENCY_FILE, NOTE_FILE],
];

type Text = ReturnType<Rendering['render']>;

/** See {@link FieldEncryption.writeEvidence}. */
export async function writeEvidence(
  installation: Installation,
  folder: string,
  { formats = REPORT_FORMATS, ...options }: EvidenceOptions = {},
): Promise<WrittenEvidence> {
  const isKnown = (format: unknown): boolean => Object.hasOwn(RENDERINGS, String(format));
  if (!Array.isArray(formats) || formats.length === 0 || !formats.every(isKnown)) {
    throw unknownFormat();
  }
  if (typeof (folder as unknown) !== 'string' || folder === '' || folder.includes('\0')) {
    throw new ConfigurationError('report: the folder must be a path.');
  }
  await requireFiles(folder);
  const report = await collectReport(installation, options);
  await mkdir(folder, { recursive: true });
  try {
    const digests = await writeForms(installation, folder, { report, formats });
    const content = { log: report.audit, time: report.time, digests };
    const note = await writeEvidenceNote(installation, content);
    await writeHashed(join(folder, NOTE_FILE + PART), [note]);
    const names = [...Object.keys(digests), NOTE_FILE];
    await replaceAll(folder, names);
    return { report, files: names.map((name) => join(folder, name)) };
  } catch (error) {
    // An earlier report stays as it was.
    for (const name of ALL_FILES) await rm(join(folder, name + PART), { force: true });
    throw error;
  }
}

/** What cannot be replaced is found before anything was. */
async function requireFiles(folder: string): Promise<void> {
  for (const name of ALL_FILES.flatMap((file) => [file, file + PART])) {
    const found = await lstat(join(folder, name)).catch(() => undefined);
    if (found?.isDirectory() !== true) continue;
    throw new ConfigurationError(
      `report: ${name} in the folder is a folder itself. Remove it, or write to another one. Nothing was written.`,
    );
  }
}

/** Writes the forms of a report, and returns their SHA-256 by name. */
async function writeForms(
  installation: Installation,
  folder: string,
  { report, formats }: Required<Pick<EvidenceOptions, 'formats'>> & Pick<WrittenEvidence, 'report'>,
): Promise<Record<string, string>> {
  const digests: Record<string, string> = {};
  const write = async (name: string, text: Text): Promise<void> => {
    digests[name] = await writeHashed(join(folder, name + PART), text);
  };
  const list: ListEntries = (range) => installation.audit.list(range);
  for (const format of new Set(formats)) {
    const { file, render }: Rendering = RENDERINGS[format];
    await write(file, render(report, list));
  }
  const { consistency, tree } = report.audit;
  if (consistency !== null && consistency.proof.length > 0) {
    const { from, proof } = consistency;
    await write(CONSISTENCY_FILE, [writeConsistency(from, tree.size, proof)]);
  }
  return digests;
}

/** Replaces an earlier report by the one that is complete: the note is to know all files that are there. */
async function replaceAll(folder: string, names: readonly string[]): Promise<void> {
  for (const name of ALL_FILES) await rm(join(folder, name), { force: true });
  for (const name of names) await rename(join(folder, name + PART), join(folder, name));
}

/** Writes a file, and returns its SHA-256 in hexadecimal. */
async function writeHashed(path: string, text: Text): Promise<string> {
  const hash = createHash('sha256');
  const noting = async function* (): AsyncGenerator<string> {
    for await (const part of text) {
      hash.update(part);
      yield part;
    }
  };
  // A link that is there already would lead elsewhere.
  await rm(path, { force: true });
  await writeFile(path, noting(), { flag: 'wx' });
  return hash.digest('hex');
}

function unknownFormat(): ConfigurationError {
  return new ConfigurationError(
    `report: formats must list at least one of ${REPORT_FORMATS.join(', ')}.`,
  );
}
