import type { AuditEntry, AuditRange } from '../../audit/audit-entry';
import type { EvidenceReport } from '../report';

import { cbom } from './cbom';
import { html } from './html';
import { ocsfEvent } from './ocsf';

/** Lists entries of the audit log. */
export type ListEntries = (range: AuditRange) => Promise<AuditEntry[]>;

/** A form of the report. */
export interface Rendering {
  /** The name of its file. */
  readonly file: string;
  /**
   * Returns the parts of its text.
   *
   * @param list - for forms that hold the audit log itself.
   */
  readonly render: (
    report: EvidenceReport,
    list: ListEntries,
  ) => Iterable<string> | AsyncIterable<string>;
}

const PAGE = 500;

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
  for (let after = 0; after < audit.entries;) {
    const entries = await list({ after, limit: Math.min(PAGE, audit.entries - after) });
    for (const entry of entries) yield `${JSON.stringify(ocsfEvent(entry, product))}\n`;
    after = entries.at(-1)?.seq ?? audit.entries;
  }
}
