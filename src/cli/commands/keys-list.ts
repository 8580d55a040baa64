import { grouped } from '../../doctor/finding';
import type { KeyInfo } from '../../keys/record/key-info';
import { isOwnBranchName } from '../../keys/record/scope';
import type { Session } from '../load/session';
import { EXIT_CODES } from '../terminal/command-error';
import type { CommandResult } from '../terminal/output';
import { table } from '../terminal/table';

import { commandLine } from './command-line';
import type { CommandWork } from './common-options';
import { rotationLines } from './scopes/rotate-scopes';

/** Lists every data key, or every root of the blind indexes. */
export async function keysList(
  { fieldEncryption }: Session,
  { index }: { readonly index: boolean },
): Promise<CommandResult> {
  const keys = await (index ? fieldEncryption.keys.indexRoots() : fieldEncryption.keys.list());
  const none = `No ${index ? 'index roots' : 'data keys'}. See: field-encryption status`;
  return { document: { keys }, text: keys.length === 0 ? none : keysTable(keys) };
}

/** Characters of the name of an own branch in a table: `branch:` and eight digits. */
const OWN_BRANCH_SHOWN = 15;

/** Formats a date to the minute; an edited row may not have one. */
export function dateText(date: Date): string {
  // Without seconds: a table is for 80 columns.
  return Number.isNaN(date.getTime()) ? '(no date)' : `${date.toISOString().slice(0, 16)}Z`;
}

/** Lays out the keys, one a line. */
export function keysTable(keys: readonly KeyInfo[]): string {
  return table(
    ['KEY', 'STATE', 'ID', 'KMS', 'USES', 'CREATED'],
    keys.map(({ name, version, state, id, kms, useCount, createdAt }) => [
      `${shortName(name)} v${String(version)}`,
      state,
      id,
      kms,
      grouped(useCount),
      dateText(createdAt),
    ]),
  );
}

/** Shortens the name of the branch of a scope with a KMS of its own, which ends with a hash: `--json` has all of it. */
function shortName(name: string): string {
  return isOwnBranchName(name) ? `${name.slice(0, OWN_BRANCH_SHOWN)}…` : name;
}

/** Does what the key policies ask for, when a scheduler of the system or the cluster calls. */
export async function keysMaintain(
  session: Session,
  { dryRun }: { readonly dryRun: boolean },
): ReturnType<CommandWork> {
  const report = await session.fieldEncryption.keys.maintain({ dryRun });
  const { announced, activated, destroyed, awaitingApproval, stillNeeded, scopes, failures } =
    report;
  const would = dryRun ? 'would be ' : '';
  const lines = [
    ...announced.map((key) =>
      dryRun ? `${keyTitle(key)}: a new version would be announced` : `${keyTitle(key)}: announced`,
    ),
    ...activated.map((key) => `${keyTitle(key)}: ${would}activated`),
    ...destroyed.map(
      (key) => `${keyTitle(key)}: ${would}destroyed${dryRun ? ', unless rows need it' : ''}`,
    ),
    ...awaitingApproval.map(
      (key) =>
        `${keyTitle(key)}: to be destroyed, which needs approval. Run:\n  ${commandLine(session, 'keys', 'destroy', key.id)}`,
    ),
    ...stillNeeded.map(
      (key) =>
        `${keyTitle(key)}: kept, rows need it. Run:\n  ${commandLine(session, 'data', 'reencrypt')}`,
    ),
    ...scopes.flatMap((rotation) => rotationLines({ ...rotation, failures: [] }, dryRun)),
    ...failures.map(({ keyName, code, message }) => `${keyName}: ${code}: ${message}`),
  ];
  return {
    document: { dryRun, ...report },
    text: lines.length === 0 ? 'Nothing is due.' : lines.join('\n'),
    exitCode: failures.length === 0 ? EXIT_CODES.done : EXIT_CODES.failed,
  };
}

/** Names a data key and its version. */
export function keyTitle({ name, version, id }: Pick<KeyInfo, 'name' | 'version' | 'id'>): string {
  return `key "${name}" version ${String(version)} (${id})`;
}
