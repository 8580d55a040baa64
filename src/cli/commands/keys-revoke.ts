import { counted, grouped } from '../../doctor/finding';
import { isUnneeded } from '../../keys/lifecycle/encrypted-rows';
import type { ColumnUse } from '../../keys/lifecycle/encrypted-rows';
import { requireRevocable } from '../../keys/lifecycle/key-revocation';
import { requireTransition } from '../../keys/lifecycle/key-transition';
import type { KeyInfo } from '../../keys/record/key-info';
import { isKnownState } from '../../keys/record/key-state';
import type { Session } from '../load/session';
import { EXIT_CODES } from '../terminal/command-error';
import type { CommandResult } from '../terminal/output';
import { confirm } from '../terminal/prompt';
import { table } from '../terminal/table';

import { commandLine } from './command-line';
import type { CommandWork } from './common-options';
import { keyTitle } from './keys-list';

/** Options of commands that take a key out of use. */
export interface RetirementOptions {
  readonly dryRun: boolean;
  readonly yes: boolean;
}

/** Takes a compromised key out of use, and lists the rows to re-encrypt. */
export async function keysRevoke(
  session: Session,
  id: string,
  { dryRun, yes, replace }: RetirementOptions & { readonly replace: boolean },
): Promise<CommandResult> {
  const { fieldEncryption, installation } = session;
  const key = await installation.keys.operations.find(id);
  requireRevocable(key);
  const title = keyTitle(key);
  if (dryRun) {
    const plan = (await fieldEncryption.keys.uses(id)).filter(
      ({ rowsUnderKey }) => rowsUnderKey > 0,
    );
    return {
      document: { dryRun, key, replacement: null, plan },
      text: [
        `Would mark ${title} as compromised.`,
        ...planText(session, plan),
        'Nothing was changed.',
      ].join('\n'),
    };
  }
  await confirm(yes, { warning: `This marks ${title} as compromised, for good.`, word: id });
  const report = await fieldEncryption.keys.revoke(id, { replace });
  const { key: revoked, replacement, proven, plan } = report;
  return {
    document: { dryRun, key: revoked, replacement, proven, plan },
    text: [
      `Marked ${title} as compromised.${key.purpose === 'signing' ? ' Nothing that it signed proves anything.' : ' Other processes write with it until their cache has aged.'}`,
      ...(proven === false ? [UNPROVEN] : []),
      ...(replacement === null
        ? aboutNoReplacement(session, key)
        : [`Version ${String(replacement.version)} (${replacement.id}) is active in its place.`]),
      ...planText(session, plan),
    ].join('\n'),
  };
}

const UNPROVEN =
  'Its row did not prove that this library wrote it: it was edited, or wrapped by a KMS that is not ' +
  'configured here. Do not trust what it says of the key. See: field-encryption audit verify';

function aboutNoReplacement(session: Session, { state, name, purpose }: KeyInfo): string[] {
  const isSigning = purpose === 'signing';
  const which = isSigning ? ['--signing', name] : [name];
  const rotate = `  ${commandLine(session, 'keys', 'rotate', ...which)}`;
  if (!isKnownState(state)) return [`If no other version of "${name}" is active, run:`, rotate];
  if (state !== 'active') return [];
  const what = isSigning ? `signed with "${name}"` : `written under "${name}"`;
  return [`Nothing can be ${what} until you run:`, rotate];
}

function planText(session: Session, plan: readonly ColumnUse[] | null): string[] {
  if (plan === null) return ['This database role does not see which rows need it.'];
  if (plan.length === 0) return ['No row needs it.'];
  return [
    'To be re-encrypted:',
    ...plan.map(
      ({ entity, property, rowsUnderKey }) =>
        `  ${entity}.${property}: ${counted(rowsUnderKey, 'row')}`,
    ),
    'Run:',
    `  ${commandLine(session, 'data', 'reencrypt')}`,
  ];
}

/** Erases a key that no row needs, and shows the proof. */
export async function keysDestroy(
  session: Session,
  id: string,
  { dryRun, yes, graceMs }: RetirementOptions & { readonly graceMs: number | undefined },
): ReturnType<CommandWork> {
  const { fieldEncryption, installation } = session;
  const key = await installation.keys.operations.find(id);
  const title =
    key.purpose === 'index' ? `index root version ${String(key.version)} (${id})` : keyTitle(key);
  if (dryRun) return destroyPlan(session, key, title, graceMs);
  await confirm(yes, {
    warning:
      `This erases ${title} for good. What this command cannot see, such as rows in backups or in ` +
      'tables of other applications, could never be read again.',
    word: id,
  });
  const { key: destroyed, ...proof } = await fieldEncryption.keys.destroy(
    id,
    graceMs === undefined ? {} : { graceMs },
  );
  return {
    document: { dryRun, key: destroyed, ...proof },
    text: [
      `Destroyed ${title}. SHA-256 of the wrapped key that was erased: ${proof.wrappedKeySha256}`,
      columnsTable(proof.columns),
    ].join('\n'),
  };
}

/** Foresees a destruction. Exits as that would. */
async function destroyPlan(
  { fieldEncryption, installation }: Session,
  key: KeyInfo,
  title: string,
  graceMs: number | undefined,
): ReturnType<CommandWork> {
  requireTransition(key, 'destroyed');
  const columns = await fieldEncryption.keys.uses(key.id);
  const needed = !isUnneeded(columns);
  const atRestFrom = await installation.keys.operations.atRestFrom(key.id, graceMs);
  return {
    document: { dryRun: true, key, needed, atRestFrom, columns },
    text: [
      ...(needed ? [`Would refuse: rows need ${title}, or may.`] : []),
      ...(atRestFrom === null ? [] : [graceText(atRestFrom)]),
      ...(needed || atRestFrom !== null ? [] : [`Would destroy ${title}.`]),
      columnsTable(columns),
      'Nothing was changed.',
    ].join('\n'),
    exitCode: needed || atRestFrom !== null ? EXIT_CODES.failed : EXIT_CODES.done,
  };
}

function graceText(atRestFrom: Date): string {
  return (
    `Would refuse before ${atRestFrom.toISOString()}, by the clock of the database: until then a process may ` +
    'still write with it. See --grace.'
  );
}

function columnsTable(columns: readonly ColumnUse[]): string {
  return table(
    ['PROPERTY', 'COLUMN', 'ROWS', 'UNDER THE KEY', 'UNDER UNKNOWN KEYS'],
    columns.map(({ entity, property, table: name, column, rows, ...under }) => [
      `${entity}.${property}`,
      `${name}.${column}`,
      grouped(rows),
      grouped(under.rowsUnderKey),
      grouped(under.rowsUnderUnknownKeys),
    ]),
  );
}
