import { counted, grouped } from '../doctor/counted';
import type { RunPlan, TablePlan } from '../reencryption/run-plan';
import type { ColumnStatus } from '../reencryption/status';

/** What a run has to do, for people. */
export function describePlan({ tables, estimatedSeconds }: RunPlan): string {
  return [
    ...tables.flatMap(describeTable),
    `Estimated time: ${String(estimatedSeconds)} s, by a sample of rows.`,
  ].join('\n');
}

function describeTable({ entity, rows, pending, columns, first }: TablePlan): string[] {
  return [
    `${entity}: ${grouped(pending)} of ${counted(rows, 'row')} to do`,
    ...(first === '' ? [] : [`  first those with ${first}`]),
    ...columns.map(describeColumn),
  ];
}

function describeColumn({ property, keys, nullRows, cleartextRows }: ColumnStatus): string {
  const parts = [
    ...keys.map(
      ({ keyId, version, rows }) =>
        `${grouped(rows)} under ${version === undefined ? `unknown key ${keyId}` : `version ${String(version)}`}`,
    ),
    ...(cleartextRows > 0 ? [`${grouped(cleartextRows)} not encrypted`] : []),
    ...(nullRows > 0 ? [`${grouped(nullRows)} NULL`] : []),
  ];
  return `  ${property}: ${parts.length === 0 ? 'no rows' : parts.join(', ')}`;
}
