import type { EvidenceReport } from '../report';

import { accessChart, coverageChart, policyChart, timeLines, violationChart } from './figures';
import { listed, markup } from './markup';
import type { Markup } from './markup';
import { page, section } from './page';

/** Returns the report as one HTML document, which a browser shows and prints without anything else. */
export function html(report: EvidenceReport): string {
  const { application, database, time } = report;
  const preface = markup`<p>As of ${time}, ${database.name} ${database.serverVersion}. Each figure can be counted again with the statement beside it; the JSON of this report has more of each. Whether a requirement is met is for an auditor to say.</p>`;
  const sections = SECTIONS.map(([heading, content]) => section(heading, content(report)));
  return page(`Encryption of ${application}`, [preface, ...sections]);
}

const SECTIONS: readonly (readonly [string, (report: EvidenceReport) => readonly Markup[]])[] = [
  [
    'Violations',
    (report) => [
      violationChart(report),
      listed(report.violations, 'severity', 'subject', 'message', 'remedy', 'controls'),
    ],
  ],
  ['Encrypted columns', columns],
  [
    'Columns that are not encrypted',
    ({ unencrypted, unmapped: { found, searched } }) => [
      listed(unencrypted, 'entity', 'property', 'table', 'column', 'type'),
      markup`<h3>Columns without an entity that hold ciphertexts</h3><p>${searched} columns that no entity maps were searched.</p>`,
      listed(found, 'table', 'column', 'rows', 'sql'),
    ],
  ],
  ['Keys', keys],
  [
    'Key-encryption keys',
    ({ keks, providers }) => [
      listed(keks, 'kms', 'kek', 'keys', 'sql'),
      listed(providers, 'kms', 'ok', 'detail', 'kekVersion', 'kekCreatedAt', 'kekAgeDays'),
    ],
  ],
  ['Policies', policies],
  [
    'Audit log',
    ({ audit }) => [
      markup`<p>${audit.entries} entries: ${stateOf(audit)}. Head: <code>${audit.head}</code></p>`,
      listed(audit.operations, 'actor', 'operation', 'outcome', 'count', 'last'),
    ],
  ],
  ['Access', access],
  [
    'Backups and drills',
    ({ backups, drills }) => [
      listed(backups, 'time', 'actor', 'backupId', 'keys'),
      markup`<h3>Drills, with recovery point and recovery time in milliseconds</h3>`,
      listed(drills, 'time', 'actor', 'backupId', 'keys', 'ok', 'rpoMs', 'rtoMs'),
    ],
  ],
  [
    'Rules',
    ({ rules }) => [listed(rules, 'title', 'findings', 'shows', 'doesNotShow', 'controls')],
  ],
  ['Versions', ({ versions }) => [listed([versions], ...namesOf(versions))]],
  ['What was not checked', ({ notChecked }) => [listed(notChecked, 'subject', 'reason')]],
];

function columns(report: EvidenceReport): readonly Markup[] {
  const rows = report.columns.map(({ check, sample, ...column }) => ({
    ...{ ...column, check: check.present },
    sample: `${String(sample.verified)} of ${String(sample.values)} verified`,
  }));
  const counted = ['rows', 'nullRows', 'cleartextRows', 'check', 'sample', 'sql'] as const;
  return [coverageChart(report), listed(rows, 'entity', 'property', 'table', 'column', ...counted)];
}

function keys(report: EvidenceReport): readonly Markup[] {
  const named = ['name', 'purpose', 'version', 'id', 'state', 'suite', 'kms', 'kek'] as const;
  const times = ['activatedAt', 'expiresAt', 'owner', 'securityLevel'] as const;
  return [timeLines(report), listed(report.keys, ...named, ...times)];
}

function policies(report: EvidenceReport): readonly Markup[] {
  const limits = ['cryptoperiodDays', 'rotation', 'retention'] as const;
  return [
    policyChart(report),
    listed(report.policies, 'keyName', 'owner', 'securityLevel', ...limits),
    markup`<h3>What is due</h3>`,
    listed(report.due, 'reason', 'command'),
  ];
}

function access(report: EvidenceReport): readonly Markup[] {
  const { kept, uses } = report.access;
  if (kept !== 'table') return [markup`<p>${WITHOUT_TABLE[kept]}</p>`];
  const members = ['operation', 'entity', 'property', 'values', 'first', 'last'] as const;
  return [accessChart(report), listed(uses, 'actor', ...members)];
}

const WITHOUT_TABLE = {
  sink: 'Uses of values are handed to a sink of the application, and are not in the database.',
  none: 'Uses of values are not recorded.',
} as const;

function stateOf({ kept, ok }: EvidenceReport['audit']): string {
  if (!kept) return 'not kept';
  return ok ? 'verified, unbroken' : 'NOT in order';
}

function namesOf<T extends object>(value: T): (keyof T & string)[] {
  return Object.keys(value) as (keyof T & string)[];
}
