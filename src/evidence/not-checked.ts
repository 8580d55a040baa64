import type { EvidenceReport, NotChecked } from './report';
import { NOT_DECIDED } from './rules/row-rules';

/** What no report of this library looks at. */
const NEVER: readonly NotChecked[] = [
  {
    subject: 'copies of rows elsewhere',
    reason:
      'backups, replicas, logs, queues, files, and other databases and DataSources were not read',
  },
  {
    subject: 'values that were not sampled',
    reason: 'only their beginnings were counted; `field-encryption data verify` decrypts each',
  },
  {
    subject: 'binary columns without an entity, and virtual tables',
    reason: 'only their text columns were searched for ciphertexts',
  },
  {
    subject: 'the use count of keys',
    reason: 'processes add theirs to the key table from time to time, and it is not proven',
  },
  {
    subject: 'the configuration of other processes',
    reason: 'options, policies, providers and versions are those of the process that reports',
  },
];

/** Lists what the report says nothing about. */
export function notChecked(
  { access: { kept, missing, sql }, columns, providers }: EvidenceReport,
  unmapped: readonly NotChecked[],
): NotChecked[] {
  return [
    ...NEVER,
    ...unmapped,
    ...columns.flatMap(({ entity, property, sample: { failures, values } }) => [
      ...(values === 0
        ? [{ subject: `${entity}.${property}`, reason: 'no value was sampled' }]
        : []),
      ...Object.entries(failures)
        .filter(([code]) => NOT_DECIDED.has(code))
        .map(([code, count]) => ({
          subject: `${entity}.${property}`,
          reason: `${String(count)} sampled values were not read: ${code}`,
        })),
    ]),
    ...providers
      .filter(({ kekCreatedAt }) => kekCreatedAt === null)
      .map(({ kms }) => ({
        subject: `age of the key-encryption key of kms "${kms}"`,
        reason: 'the provider does not tell',
      })),
    ...(kept === 'table' && sql === null
      ? [{ subject: 'the access log', reason: missing ? NO_TABLE : NO_LEVEL }]
      : [USES[kept]]),
  ];
}

const NO_LEVEL = 'the actor may not list it, for want of a level';
const NO_TABLE = 'its table is not in the database';

const USES: Readonly<Record<EvidenceReport['access']['kept'], NotChecked>> = {
  table: {
    subject: 'seals of the access log',
    reason: 'its entries were counted; `field-encryption access list` verifies them',
  },
  sink: { subject: 'uses of values', reason: 'they are handed to a sink' },
  none: { subject: 'uses of values', reason: 'the option `accessLog` is off' },
};
