import type { KeyInfo } from '../keys/record/key-info';
import type { IndexStatus } from '../reencryption/coverage/index-status';
import { encryptedTables } from '../reencryption/encrypted-table';
import { RunStore } from '../reencryption/lease/run-store';
import type { Installation } from '../typeorm/installation/installation';

import { counted, SCHEMA_EXPAND } from './finding';
import type { OperatorTask } from './operator-task';

/** The roots that tokens may be of. */
export interface IndexRootState {
  readonly roots: readonly KeyInfo[];
  /** Whether an announced root was announced long enough ago to be activated. */
  readonly activatable: boolean;
  /** Whether a run went over the tokens of every table since the active root was activated. */
  readonly reindexed: boolean;
}

/** The state without a key table. */
export const NO_ROOTS: IndexRootState = { roots: [], activatable: false, reindexed: false };

/** Lists what lookups by an index need in order to find every row: its column, and a token in each row. */
export function indexTasks(index: IndexStatus): OperatorTask[] {
  return [...missingColumn(index), ...rowsWithoutToken(index)];
}

function missingColumn({ entity, property, table, column, exists }: IndexStatus): OperatorTask[] {
  if (exists) return [];
  return [
    {
      command: SCHEMA_EXPAND,
      reason:
        `${table} has no column ${column} for the tokens of ${entity}.${property}: write the migration ` +
        'that adds it, and run it; status then counts the rows that need a token',
    },
  ];
}

function rowsWithoutToken({
  entity,
  property,
  column,
  rowsWithoutToken: rows,
}: IndexStatus): OperatorTask[] {
  if (rows === 0) return [];
  return [
    {
      command: `data reindex --entity ${entity}`,
      reason: `${counted(rows, 'row')} of ${entity}.${property} without a token in ${column}, which lookups miss`,
    },
  ];
}

/** Lists the steps of a rotation of the index key that are left. A token does not name its root, so no count tells. */
export function rootTasks({ roots: all, activatable, reindexed }: IndexRootState): OperatorTask[] {
  const active = all.find(({ state }) => state === 'active');
  if (active === undefined) return [];
  const announced = all.find(({ state }) => state === 'preActive');
  const replaced = all.filter(
    ({ state, version }) => state !== 'destroyed' && version < active.version,
  );
  return [
    ...replaced.map(({ id, version }) =>
      reindexed
        ? {
            command: `keys destroy ${id}`,
            reason: `index root version ${String(version)} was replaced, and every table reindexed since`,
          }
        : {
            command: 'data reindex',
            reason: `tokens may be of index root version ${String(version)} (${id}), which was replaced`,
          },
    ),
    ...(announced !== undefined && activatable
      ? [
          {
            command: 'keys rotate --index',
            reason: `index root version ${String(announced.version)} was announced and is due for activation`,
          },
        ]
      : []),
  ];
}

/** Collects the state of the index roots. */
export async function indexRootState(installation: Installation): Promise<IndexRootState> {
  const { operations } = installation.keys;
  const all = installation.columns.needsIndexRoot ? await operations.listIndexRoots() : [];
  const active = all.find(({ state }) => state === 'active');
  const isAnnounced = all.some(({ state }) => state === 'preActive');
  return {
    roots: all,
    activatable:
      isAnnounced && (await operations.rotateIndex({ dryRun: true })).step === 'activated',
    reindexed: all.length > 1 && (await isReindexedSince(installation, active?.activatedAt)),
  };
}

/** Goes by the ends of runs, which nothing authenticates: the destruction of a root counts for itself. */
async function isReindexedSince(
  installation: Installation,
  time: Date | null | undefined,
): Promise<boolean> {
  const ended = await new RunStore(installation.dataSource).lastStarts('reindex');
  return encryptedTables(installation)
    .filter(({ columns }) => columns.some(({ indexes }) => indexes.length > 0))
    .every(({ metadata }) => (ended.get(metadata.tablePath) ?? '') > (time?.toISOString() ?? ''));
}
