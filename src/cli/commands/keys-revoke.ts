import { counted } from '../../doctor/counted';
import { requireRevocable } from '../../keys/key-retirement';
import type { ColumnUse } from '../../keys/key-retirement';
import type { KeyState } from '../../keys/key-state';
import { isKnownState } from '../../keys/key-state';
import { confirm } from '../confirmation';
import type { CommandResult } from '../output';
import type { Session } from '../session';

/** Options of commands that take a key out of use. */
export interface RetirementOptions {
  readonly dryRun: boolean;
  readonly yes: boolean;
}

/** Takes a compromised key out of use, and says what is to be re-encrypted. */
export async function keysRevoke(
  { fieldEncryption, installation }: Session,
  id: string,
  { dryRun, yes, replace }: RetirementOptions & { readonly replace: boolean },
): Promise<CommandResult> {
  const key = await installation.keys.operations.find(id);
  requireRevocable(key);
  const title = `key "${key.name}" version ${String(key.version)} (${id})`;
  if (dryRun) {
    const plan = (await fieldEncryption.keys.uses(id)).filter(
      ({ rowsUnderKey }) => rowsUnderKey > 0,
    );
    return {
      document: { dryRun, key, replacement: null, plan },
      text: [`Would mark ${title} as compromised.`, ...planText(plan), 'Nothing was changed.'].join(
        '\n',
      ),
    };
  }
  await confirm(yes, { warning: `This marks ${title} as compromised, for good.`, word: id });
  const report = await fieldEncryption.keys.revoke(id, { replace });
  const { key: revoked, replacement, proven, plan } = report;
  return {
    document: { dryRun, key: revoked, replacement, proven, plan },
    text: [
      `Marked ${title} as compromised. Other processes write with it until their cache has aged.`,
      ...(proven === false ? [UNPROVEN] : []),
      ...(replacement === null
        ? aboutNoReplacement(key.state, key.name)
        : [`Version ${String(replacement.version)} (${replacement.id}) is active in its place.`]),
      ...planText(plan),
    ].join('\n'),
  };
}

const UNPROVEN =
  'Its row did not prove that this library wrote it: it was edited, or wrapped by a KMS that is not ' +
  'configured here. Do not trust what it says of the key. See: field-encryption audit verify';

function aboutNoReplacement(previousState: KeyState, name: string): string[] {
  if (!isKnownState(previousState)) {
    return [`If no other version of "${name}" is active: field-encryption keys rotate ${name}`];
  }
  if (previousState !== 'active') return [];
  return [`Nothing can be written under "${name}" until: field-encryption keys rotate ${name}`];
}

function planText(plan: readonly ColumnUse[] | null): string[] {
  if (plan === null) return ['This database role does not see which rows need it.'];
  if (plan.length === 0) return ['No row needs it.'];
  return [
    'To be re-encrypted, with: field-encryption data reencrypt',
    ...plan.map(
      ({ entity, property, rowsUnderKey }) =>
        `  ${entity}.${property}: ${counted(rowsUnderKey, 'row')}`,
    ),
  ];
}
