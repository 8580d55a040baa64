import type { EvidenceReport } from '../report';

import { accessChart, coverageChart, policyChart, timeLines, violationChart } from './figures';
import { markup, table } from './markup';
import type { Markup } from './markup';
import { STYLE } from './style';

/**
 * Returns the report as one HTML document that needs nothing else: it has no scripts and makes no requests, and its
 * policy tells the browser to allow none.
 */
export function html(report: EvidenceReport): string {
  const title = `Encryption of ${report.application}`;
  return markup`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<style>${STYLE}</style>
</head>
<body>
<h1>${title}</h1>
<p>As of ${report.time}, ${report.database.name} ${report.database.serverVersion}. Each figure can be counted again with the statement below it; the JSON of this report has all of them. Whether a requirement is met is for an auditor to say.</p>
${SECTIONS.map(([heading, content]) => markup`<section><h2>${heading}</h2>${content(report)}</section>`)}
</body>
</html>
`.text;
}

const SECTIONS: readonly (readonly [string, (report: EvidenceReport) => Markup])[] = [
  ['Violations', violations],
  ['Encrypted columns', columns],
  ['Columns that are not encrypted', unencrypted],
  ['Keys', keys],
  ['Key-encryption keys', keks],
  ['Policies', policies],
  ['Audit log', audit],
  ['Access', access],
  ['Backups and drills', backups],
  ['Rules', rules],
  ['Versions', versions],
  ['What was not checked', notChecked],
];

function violations(report: EvidenceReport): Markup {
  return markup`${violationChart(report)}${table(
    ['Severity', 'About', 'Violation', 'Remedy', 'Serves'],
    report.violations.map(({ severity, subject, message, remedy, controls }) => [
      markup`<span class="tag ${severity}">${severity}</span>`,
      ...[subject, message, remedy, controls.join('; ')],
    ]),
  )}`;
}

function columns(report: EvidenceReport): Markup {
  return markup`${coverageChart(report)}${table(
    ['Property', 'Column', 'Rows', 'Cleartext', 'CHECK', 'Sample: verified of read', 'Counted by'],
    report.columns.map((column) => [
      `${column.entity}.${column.property}`,
      ...[`${column.table}.${column.column}`, column.rows, column.cleartextRows],
      column.check.present ? column.check.name : 'missing',
      `${String(column.sample.verified)} of ${String(column.sample.values)}`,
      markup`<code>${column.sql}</code>`,
    ]),
  )}`;
}

function unencrypted({ unencrypted: plain, unmapped }: EvidenceReport): Markup {
  return markup`${table(
    ['Property', 'Column', 'Type'],
    plain.map(({ entity, property, table: name, column, type }) => [
      ...[`${entity}.${property}`, `${name}.${column}`, type],
    ]),
  )}<h3>Tables without an entity that hold ciphertexts</h3><p>${unmapped.searched} text columns of tables without an entity were searched.</p>${table(
    ['Column', 'Rows', 'Counted by'],
    unmapped.found.map(({ table: name, column, rows, sql }) => [
      ...[`${name}.${column}`, rows, markup`<code>${sql}</code>`],
    ]),
  )}`;
}

function keys(report: EvidenceReport): Markup {
  return markup`${timeLines(report)}${table(
    ['Key', 'Id', 'State', 'Suite', 'Wrapped by', 'Activated', 'Expires', 'Owner', 'Level'],
    report.keys.map((key) => [
      `${key.name} (${key.purpose}), version ${String(key.version)}`,
      markup`<code>${key.id}</code>`,
      ...[key.state, key.suite, `${key.kms}: ${key.kek}`, dayOf(key.activatedAt)],
      ...[dayOf(key.expiresAt), key.owner, key.securityLevel],
    ]),
  )}`;
}

function keks({ keks: used, providers }: EvidenceReport): Markup {
  return markup`${table(
    ['KMS', 'Key-encryption key', 'Keys that it wraps'],
    used.map(({ kms, kek, keys: count }) => [kms, kek, count]),
  )}${table(
    ['KMS', 'Answers', 'Version', 'Made', 'Days since'],
    providers.map(({ kms, ok, kekVersion, kekCreatedAt, kekAgeDays }) => [
      ...[kms, ok ? 'yes' : 'no', kekVersion, dayOf(kekCreatedAt), kekAgeDays],
    ]),
  )}`;
}

function policies(report: EvidenceReport): Markup {
  return markup`${policyChart(report)}${table(
    ['Key', 'Owner', 'Level', 'Cryptoperiod, days', 'Rotation', 'Retention'],
    report.policies.map(
      ({ keyName, owner, securityLevel, cryptoperiodDays, rotation, retention }) => [
        ...[keyName, owner, securityLevel, cryptoperiodDays, inWords(rotation), inWords(retention)],
      ],
    ),
  )}<h3>What is due</h3>${table(
    ['Reason', 'Command'],
    report.due.map(({ reason, command }) => [reason, command]),
  )}`;
}

function audit({ audit: log }: EvidenceReport): Markup {
  const state = log.kept ? (log.ok ? 'verified, unbroken' : 'NOT in order') : 'not kept';
  return markup`<p>${log.entries} entries: ${state}. Head: <code>${log.head}</code></p>${table(
    ['Actor', 'Operation', 'Outcome', 'Times', 'Last'],
    log.operations.map(({ actor, operation, outcome, count, last }) => [
      ...[actor ?? 'others', operation, outcome, count, last],
    ]),
  )}`;
}

function access(report: EvidenceReport): Markup {
  const { kept, uses } = report.access;
  if (kept !== 'table') return markup`<p>${WITHOUT_TABLE[kept]}</p>`;
  return markup`${accessChart(report)}${table(
    ['Actor', 'Operation', 'Property', 'Values', 'First', 'Last'],
    uses.map(({ actor, operation, entity, property, values, first, last }) => [
      ...[actor, operation, `${entity}.${property}`, values, first, last],
    ]),
  )}`;
}

const WITHOUT_TABLE = {
  sink: 'Uses of values are handed to a sink of the application, and are not in the database.',
  none: 'Uses of values are not recorded.',
} as const;

function backups({ backups: made, drills }: EvidenceReport): Markup {
  return markup`${table(
    ['Backup', 'Made', 'By', 'Keys'],
    made.map(({ backupId, time, actor, keys: count }) => [backupId, time, actor, count]),
  )}<h3>Drills</h3>${table(
    ['Backup', 'Tried', 'By', 'Worked', 'Recovery point, hours', 'Recovery time, seconds'],
    drills.map(({ backupId, time, actor, ok, rpoMs, rtoMs }) => [
      ...[backupId, time, actor, ok ? 'yes' : 'no'],
      ...[rpoMs === null ? null : (rpoMs / 3_600_000).toFixed(1)],
      ...[rtoMs === null ? null : (rtoMs / 1000).toFixed(1)],
    ]),
  )}`;
}

function rules(report: EvidenceReport): Markup {
  return table(
    ['Rule', 'Findings', 'Shows', 'Does not show', 'Serves'],
    report.rules.map(({ title, findings, shows, doesNotShow, controls }) => [
      ...[title, findings, shows, doesNotShow, controls.join('; ')],
    ]),
  );
}

function versions({ versions: used }: EvidenceReport): Markup {
  return table(
    ['Of', 'Is'],
    Object.entries(used).map(([name, value]) => [name, String(value)]),
  );
}

function notChecked(report: EvidenceReport): Markup {
  return table(
    ['Subject', 'Reason'],
    report.notChecked.map(({ subject, reason }) => [subject, reason]),
  );
}

function dayOf(time: string | null): string | null {
  return time?.slice(0, 10) ?? null;
}

function inWords({ kind, ...rest }: Readonly<Record<string, string | number>>): string {
  const details = Object.entries(rest).map(([name, value]) => `${name} ${String(value)}`);
  return [kind, ...details].join(', ');
}
