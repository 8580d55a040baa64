import type { ColumnEvidence } from '../column-evidence';
import type { EvidenceReport, KeyEvidence, Severity } from '../report';

import { barChart } from './charts';
import type { Bar, Segment } from './charts';
import { markup } from './markup';
import type { Markup } from './markup';

const DAY_MS = 86_400_000;
/** The most bars of a chart; the tables have all. */
const MOST_BARS = 40;

/** Draws the findings by severity. */
export function violationChart({ violations }: EvidenceReport): Markup {
  const severities: readonly Severity[] = ['high', 'medium', 'low'];
  const counts = severities.map(
    (severity) => violations.filter((violation) => violation.severity === severity).length,
  );
  const most = Math.max(1, ...counts);
  const bars = severities.map((severity, at) => ({
    label: severity,
    segments: segment(0, (counts[at] ?? 0) / most, severity, String(counts[at])),
  }));
  return chart('Violations by severity', bars, ['0', String(most)]);
}

/** Draws the rows of each column by key version. */
export function coverageChart({ columns }: EvidenceReport): Markup {
  const bars = columns.map(coverageBar);
  return markup`${chart('Rows of each column by key version', bars, ['0 %', '100 % of rows'])}${legend(COVERAGE_KINDS)}`;
}

function coverageBar(column: ColumnEvidence): Bar {
  const parts = [
    ...column.keys.map(({ name, version, state, rows }) => ({
      kind: state === 'active' ? 'active' : state === 'compromised' ? 'compromised' : 'older',
      words: `${name ?? 'unknown key'} v${String(version ?? '?')}`,
      rows,
    })),
    ...scopeParts(column),
    { kind: 'cleartext', words: 'cleartext', rows: column.cleartextRows },
    { kind: 'null', words: 'NULL', rows: column.nullRows },
  ];
  const total = Math.max(1, column.rows);
  const segments: Segment[] = [];
  let from = 0;
  for (const { kind, words, rows } of parts) {
    const to = from + rows / total;
    segments.push(...segment(from, to, kind, `${words}: ${grouped(rows)}`));
    from = to;
  }
  return { label: `${column.entity}.${column.property}`, segments };
}

function scopeParts({ scopes }: ColumnEvidence): { kind: string; words: string; rows: number }[] {
  if (scopes === null) return [];
  return [
    { kind: 'active', words: `active keys of each ${scopes.kind}`, rows: scopes.activeRows },
    { kind: 'older', words: `older keys of each ${scopes.kind}`, rows: scopes.olderRows },
    { kind: 'null', words: 'erased', rows: scopes.erasedRows },
  ];
}

/** Draws when each version of a key protected new data; where one ends and the next begins, it was rotated. */
export function timeLines({ keys, time }: EvidenceReport): Markup {
  const end = Date.parse(time);
  const made = keys.flatMap(({ createdAt }) => (createdAt === null ? [] : Date.parse(createdAt)));
  const start = Math.min(end - DAY_MS, ...made);
  const at = (date: string | null): number | undefined =>
    date === null ? undefined : (Date.parse(date) - start) / (end - start);
  const bars = keys.map((key) => ({ label: labelOf(key), segments: timeLine(key, at) }));
  const ends = [new Date(start).toISOString(), time].map((date) => date.slice(0, 10));
  const drawn = chart('Use of each key over time', bars, [ends[0] ?? '', ends[1] ?? '']);
  return markup`${drawn}${legend(TIME_LINE_KINDS)}`;
}

function timeLine(key: KeyEvidence, at: (date: string | null) => number | undefined): Segment[] {
  const { activatedAt, createdAt, deactivatedAt, compromisedAt, destroyedAt, expiresAt } = key;
  const [used, ended] = [at(activatedAt), at(deactivatedAt ?? compromisedAt ?? destroyedAt) ?? 1];
  const expired = at(expiresAt) ?? 1;
  const marks = [
    { date: compromisedAt, kind: 'compromised', words: 'compromised' },
    { date: destroyedAt, kind: 'null', words: 'destroyed' },
  ].flatMap(({ date, kind, words }) => {
    const moment = at(date);
    return moment === undefined
      ? []
      : segment(moment, moment + 0.004, kind, `${words} ${String(date)}`);
  });
  return [
    ...segment(at(createdAt) ?? 0, used ?? 1, 'null', `made ${createdAt?.slice(0, 10) ?? '?'}`),
    ...(used === undefined ? [] : segment(used, Math.min(ended, expired), 'active', key.state)),
    ...segment(Math.max(used ?? 1, expired), ended, 'due', 'past its cryptoperiod'),
    ...marks,
  ];
}

/** Draws how much of its cryptoperiod each active key has used. */
export function policyChart({ keys, time }: EvidenceReport): Markup {
  const now = Date.parse(time);
  const limited = keys.flatMap((key) => {
    const { activatedAt, expiresAt, state } = key;
    if (state !== 'active' || activatedAt === null || expiresAt === null) return [];
    const start = Date.parse(activatedAt);
    const share = (now - start) / (Date.parse(expiresAt) - start);
    const words = `${String(Math.round(share * 100))} %, until ${expiresAt.slice(0, 10)}`;
    return { label: labelOf(key), segments: segment(0, share, share > 1 ? 'due' : 'good', words) };
  });
  return chart('Cryptoperiod used by each active key', limited, ['0 %', '100 %']);
}

/** Draws the values that each actor has used. */
export function accessChart({ access }: EvidenceReport): Markup {
  const byActor = new Map<string, number>();
  for (const { actor, values } of access.uses) {
    const name = actor ?? 'nobody named';
    byActor.set(name, (byActor.get(name) ?? 0) + values);
  }
  const most = Math.max(1, ...byActor.values());
  const bars = [...byActor]
    .sort(([, a], [, b]) => b - a)
    .map(([label, values]) => ({
      label,
      segments: segment(0, values / most, 'active', grouped(values)),
    }));
  return chart('Values used by each actor', bars, ['0', grouped(most)]);
}

/** Explains the colours of a chart. */
function legend(kinds: Readonly<Record<string, string>>): Markup {
  const keys = Object.entries(kinds).map(
    ([kind, words]) => markup`<span class="key ${kind}">${words}</span>`,
  );
  return markup`<p>${keys}</p>`;
}

const COVERAGE_KINDS = {
  active: 'active key',
  older: 'earlier key',
  compromised: 'compromised key',
  cleartext: 'cleartext',
  null: 'NULL or erased',
};
const TIME_LINE_KINDS = {
  active: 'protects new data',
  due: 'past its cryptoperiod',
  compromised: 'compromised',
  null: 'not in use, destroyed',
};

function chart(title: string, bars: readonly Bar[], ends: readonly [string, string]): Markup {
  if (bars.length === 0) return markup``;
  const left = bars.length - MOST_BARS;
  const note = left > 0 ? markup`<p class="none">And ${left} more in the table.</p>` : markup``;
  return markup`<h3>${title}</h3>${barChart(title, bars.slice(0, MOST_BARS), ends)}${note}`;
}

function segment(from: number, to: number, kind: string, title: string): Segment[] {
  return to > from ? [{ from, to, kind, title }] : [];
}

function labelOf({ name, purpose, version }: KeyEvidence): string {
  return `${name} (${purpose}) v${String(version)}`;
}

function grouped(count: number): string {
  return count.toLocaleString('en-US');
}
