import { everyEntry } from '../../audit/every-entry';
import type { ListEntries } from '../../audit/every-entry';
import type { FileText } from '../evidence-folder';
import type { EvidenceReport } from '../report';

import { cbom } from './cbom';
import { html } from './html';
import { ocsfEvent } from './ocsf';

/** A form of the report. */
export interface Rendering {
  /** The name of its file. */
  readonly file: string;
  /**
   * Returns the parts of its text.
   *
   * @param list - for forms that hold the audit log itself.
   */
  readonly render: (report: EvidenceReport, list: ListEntries) => FileText;
}

/** The forms by the name of their format. */
export const RENDERINGS = {
  json: { file: 'report.json', render: (report) => [json(report)] },
  html: { file: 'report.html', render: (report) => [html(report)] },
  cbom: { file: 'report.cbom.json', render: (report) => [json(cbom(report))] },
  ocsf: { file: 'report.ocsf.jsonl', render: events },
} as const satisfies Readonly<Record<string, Rendering>>;

export type ReportFormat = keyof typeof RENDERINGS;

export const REPORT_FORMATS = Object.keys(RENDERINGS) as ReportFormat[];

function json(value: object): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}

/** Returns the audit log as far as the report has verified it, an event in each line. */
async function* events(
  { application, audit, versions }: EvidenceReport,
  list: ListEntries,
): AsyncGenerator<string> {
  const product = { application, version: versions.library };
  for await (const entry of everyEntry(list)) {
    if (entry.seq > audit.entries) return;
    yield `${JSON.stringify(ocsfEvent(entry, product))}\n`;
  }
}
