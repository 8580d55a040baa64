import type { EvidenceReport } from '../report';

import { findingIf } from './rule';
import type { Rule, RuleFinding } from './rule';

const MONITORING = ['PCI DSS 4.0.1 3.6.1', 'SOC 2 CC7.2'];
const YEAR_MS = 365 * 86_400_000;

/** Rules on the audit log, and on recovery. */
export const LOG_RULES: readonly Rule[] = [
  {
    id: 'audit-off',
    title: 'Operations on keys are recorded',
    severity: 'high',
    controls: MONITORING,
    shows: 'The configuration of this process records them.',
    doesNotShow: 'That every other process has the same configuration.',
    check: ({ audit }) =>
      findingIf(
        !audit.kept,
        'audit log',
        'The option `audit` is false, so that nothing is recorded.',
        'Leave the option out, and create its table with `field-encryption init`.',
      ),
  },
  {
    id: 'access-log-missing',
    title: 'Uses of values are recorded, where they are to be',
    severity: 'high',
    controls: MONITORING,
    shows: 'The table that the option `accessLog` asks for is in the database.',
    doesNotShow: 'That nothing was deleted from it: `field-encryption access list` verifies it.',
    check: ({ access }) =>
      findingIf(
        access.missing,
        'access log',
        'Its table is not in the database, although the option `accessLog` is on.',
        'Find out who dropped it, or run the migrations if it was never made.',
      ),
  },
  {
    id: 'audit-broken',
    title: 'The audit log is whole, and the key table agrees with it',
    severity: 'high',
    controls: MONITORING,
    shows:
      'No entry was edited, moved, added or removed within the log, and every key that is not destroyed is as it says.',
    doesNotShow: 'That its end was not cut off: keep heads elsewhere, and expect them.',
    check: ({ audit }) => brokenLog(audit),
  },
  {
    id: 'drill-old',
    title: 'A backup of the keys was tried within a year',
    severity: 'medium',
    controls: ['PCI DSS 4.0.1 3.6.1', 'ISO 27001:2022 A.8.13', 'SOC 2 CC7.2'],
    shows: 'Rows were decrypted with the keys of a backup, as the log has it.',
    doesNotShow: 'That the backup is still there, or that the database could be restored with it.',
    check: ({ drills, time }) => {
      const last = drills.findLast(({ ok }) => ok)?.time;
      const isOld = last === undefined || Date.parse(time) - Date.parse(last) > YEAR_MS;
      const message = last === undefined ? 'No drill is known.' : `The last drill was at ${last}.`;
      return findingIf(isOld, 'backups', message, 'Run `field-encryption keys drill`.');
    },
  },
  {
    id: 'backup-behind',
    title: 'Every key is in a backup',
    severity: 'medium',
    controls: ['PCI DSS 4.0.1 3.6.1', 'ISO 27001:2022 A.8.13'],
    shows: 'A backup was made since the last key, as the log has it.',
    doesNotShow: 'That the file is kept; keys of scopes are in backups of the database alone.',
    check: ({ backups, keys }) => {
      const last = backups.at(-1)?.time ?? '';
      const kept = keys.filter(({ state }) => state !== 'destroyed');
      const missing = kept.filter(({ createdAt }) => (createdAt ?? '') > last).length;
      const message = `${String(missing)} keys are newer than the last backup.`;
      return findingIf(missing > 0, 'backups', message, 'Run `field-encryption keys backup`.');
    },
  },
];

function brokenLog(audit: EvidenceReport['audit']): RuleFinding[] {
  const { anchor, broken, keys, ok, undecided, unproven } = audit;
  const remedy = 'Run `field-encryption audit verify`, and find out who has written to the tables.';
  const problem = `It is ${String(broken?.problem)}.`;
  const ids = [...keys, ...unproven, ...undecided, ...(anchor ?? [])].map(({ keyId }) => keyId);
  const disagrees =
    'The key table does not agree with the log or the anchor, or does not prove the key.';
  return [
    ...findingIf(broken !== null, `entry ${String(broken?.seq)}`, problem, remedy),
    ...[...new Set(ids)].flatMap((id) => findingIf(!ok, `key ${id}`, disagrees, remedy)),
  ];
}
