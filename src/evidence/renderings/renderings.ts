import type { AuditEntry, AuditRange } from '../../audit/audit-entry';
import type { EvidenceReport } from '../report';

/** Lists entries of the audit log. */
export type ListEntries = (range: AuditRange) => Promise<AuditEntry[]>;

/** A form of the report. */
export interface Rendering {
  /** The name of its file. */
  readonly file: string;
  /** @param list - for forms that hold the audit log itself. */
  readonly render: (report: EvidenceReport, list: ListEntries) => string | Promise<string>;
}

/** The forms by the name of their format. */
export const RENDERINGS = {
  json: { file: 'report.json', render: (report) => `${JSON.stringify(report, null, 2)}\n` },
} as const satisfies Readonly<Record<string, Rendering>>;

export type ReportFormat = keyof typeof RENDERINGS;

export const REPORT_FORMATS = Object.keys(RENDERINGS) as ReportFormat[];
