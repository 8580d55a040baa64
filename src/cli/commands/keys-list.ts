import { grouped } from '../../doctor/finding';
import type { KeyInfo } from '../../keys/record/key-info';
import type { Session } from '../load/session';
import { EXIT_CODES } from '../terminal/command-error';
import type { CommandResult } from '../terminal/output';
import { table } from '../terminal/table';

import type { CommandWork } from './common-options';

/** Lists every data key, or every root of the blind indexes. */
export async function keysList(
  { fieldEncryption }: Session,
  { index }: { readonly index: boolean },
): Promise<CommandResult> {
  const keys = await (index ? fieldEncryption.keys.indexRoots() : fieldEncryption.keys.list());
  const none = `No ${index ? 'index roots' : 'data keys'}. See: field-encryption status`;
  return { document: { keys }, text: keys.length === 0 ? none : keysTable(keys) };
}

/** A row that was edited may have no date. */
export function dateText(date: Date): string {
  return Number.isNaN(date.getTime()) ? '(no date)' : date.toISOString();
}

/** The keys, one a line. */
export function keysTable(keys: readonly KeyInfo[]): string {
  return table(
    ['KEY', 'VERSION', 'STATE', 'ID', 'SUITE', 'KMS', 'USES', 'CREATED'],
    keys.map(({ name, version, state, id, suite, kms, useCount, createdAt }) => [
      name,
      String(version),
      state,
      id,
      suite,
      kms,
      grouped(useCount),
      dateText(createdAt),
    ]),
  );
}

/** Does what the key policies ask for; for a scheduler of the operating system or the cluster. */
export async function keysMaintain(
  { fieldEncryption }: Session,
  { dryRun }: { readonly dryRun: boolean },
): ReturnType<CommandWork> {
  const report = await fieldEncryption.keys.maintain({ dryRun });
  const { announced, activated, destroyed, stillNeeded, failures } = report;
  const would = dryRun ? 'would be ' : '';
  const lines = [
    ...announced.map((key) =>
      dryRun ? `${title(key)}: a new version would be announced` : `${title(key)}: announced`,
    ),
    ...activated.map((key) => `${title(key)}: ${would}activated`),
    ...destroyed.map(
      (key) => `${title(key)}: ${would}destroyed${dryRun ? ', unless rows need it' : ''}`,
    ),
    ...stillNeeded.map((key) => `${title(key)}: kept, rows need it: run data reencrypt`),
    ...failures.map(({ keyName, code, message }) => `${keyName}: ${code}: ${message}`),
  ];
  return {
    document: { dryRun, ...report },
    text: lines.length === 0 ? 'Nothing is due.' : lines.join('\n'),
    exitCode: failures.length === 0 ? EXIT_CODES.done : EXIT_CODES.failed,
  };
}

function title({ name, version, id }: KeyInfo): string {
  return `key "${name}" version ${String(version)} (${id})`;
}
