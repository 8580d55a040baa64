import { ConfigurationError } from '../errors';
import type { Installation } from '../typeorm/installation/installation';

import { collectReport } from './collect-report';
import type { ReportOptions } from './collect-report';
import { CONSISTENCY_FILE, writeConsistency } from './consistency-file';
import { EvidenceFolder } from './evidence-folder';
import type { FileText } from './evidence-folder';
import { RENDERINGS, REPORT_FORMATS } from './renderings/renderings';
import type { Rendering, ReportFormat } from './renderings/renderings';
import type { EvidenceReport } from './report';

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

const FILES = [...Object.values(RENDERINGS).map(({ file }) => file), CONSISTENCY_FILE];

/** See {@link FieldEncryption.writeEvidence}. */
export async function writeEvidence(
  installation: Installation,
  path: string,
  { formats = REPORT_FORMATS, ...options }: EvidenceOptions = {},
): Promise<WrittenEvidence> {
  const isKnown = (format: unknown): boolean => Object.hasOwn(RENDERINGS, String(format));
  if (!Array.isArray(formats) || formats.length === 0 || !formats.every(isKnown)) {
    throw unknownFormat();
  }
  const folder = await EvidenceFolder.at(path, FILES);
  const report = await collectReport(installation, options);
  const about = { log: report.audit, time: report.time };
  const files = filesOf(installation, report, formats);
  return { report, files: await folder.replace(installation, files, about) };
}

function* filesOf(
  { audit }: Installation,
  report: EvidenceReport,
  formats: readonly ReportFormat[],
): Generator<readonly [string, FileText]> {
  for (const format of new Set(formats)) {
    const { file, render }: Rendering = RENDERINGS[format];
    yield [file, render(report, (range) => audit.list(range))];
  }
  const { consistency, tree } = report.audit;
  if (consistency === null || consistency.proof.length === 0) return;
  yield [CONSISTENCY_FILE, [writeConsistency(consistency.from, tree.size, consistency.proof)]];
}

function unknownFormat(): ConfigurationError {
  return new ConfigurationError(
    `report: formats must list at least one of ${REPORT_FORMATS.join(', ')}.`,
  );
}
