import type { KeyInfo } from '../keys/key-info';
import type { ColumnStatus } from '../reencryption/status';
import { counted } from './table';

/** Something an operator has to do. */
export interface Due {
  /** The command that does it; `null` where none does. */
  readonly command: string | null;
  readonly reason: string;
}

/** What the state of keys and columns asks for. */
export interface Findings {
  readonly keyTable: boolean;
  /** Key names that the entities write with. */
  readonly keyNames: readonly string[];
  readonly keys: readonly KeyInfo[];
  readonly columns: readonly ColumnStatus[];
  /** Tables of encrypted entities that the database does not have. */
  readonly missingTables: readonly string[];
}

/** What is due, most urgent first. */
export function whatIsDue(findings: Findings): Due[] {
  return [
    ...missingParts(findings),
    ...findings.columns.flatMap(unreadableRows),
    ...findings.columns.flatMap(cleartextRows),
    ...staleRows(findings.columns),
  ];
}

function missingParts({ keyTable, keyNames, keys, missingTables }: Findings): Due[] {
  const active = new Set(keys.filter(({ state }) => state === 'active').map(({ name }) => name));
  const keyless = keyNames.filter((name) => !active.has(name));
  const due: Due[] = [];
  if (!keyTable) due.push({ command: 'init', reason: 'the key table does not exist' });
  else if (keyless.length > 0) {
    due.push({ command: 'init', reason: `no active data key for ${keyless.join(', ')}` });
  }
  if (missingTables.length > 0) {
    due.push({
      command: null,
      reason: `${missingTables.join(', ')} missing in the database: run your migrations`,
    });
  }
  return due;
}

function unreadableRows({ entity, property, keys }: ColumnStatus): Due[] {
  return keys
    .filter(({ name }) => name === undefined)
    .map(({ keyId, rows }) => ({
      command: null,
      reason:
        `${counted(rows, 'row')} of ${entity}.${property} need key ${keyId}, which the key table ` +
        'does not hold: restore it from a backup',
    }));
}

function cleartextRows({ entity, property, cleartextRows: rows }: ColumnStatus): Due[] {
  if (rows === 0) return [];
  return [
    {
      command: null,
      reason: `${counted(rows, 'row')} of ${entity}.${property} hold cleartext: encrypt them`,
    },
  ];
}

function staleRows(columns: readonly ColumnStatus[]): Due[] {
  const stale = columns
    .flatMap(({ keys }) => keys)
    .filter(({ name, state }) => name !== undefined && state !== 'active')
    .reduce((sum, { rows }) => sum + rows, 0);
  if (stale === 0) return [];
  return [
    { command: 'data reencrypt', reason: `${counted(stale, 'value')} under an older data key` },
  ];
}
