import { createHash } from 'node:crypto';

import type { CheckedPolicy } from '../../../approvals/approval-policy';
import type { StoredPolicy } from '../../../approvals/stored-policies';
import { isSamePolicy, policyValue } from '../../../approvals/approval-policy';
import type { Session } from '../../load/session';
import type { CommandResult } from '../../terminal/output';
import { confirm } from '../../terminal/prompt';

import type { DryRunOption } from '../common-options';

const HOUR_MS = 3_600_000;

/** Stores the policy of the configuration, or has it approved. */
export async function approvalsPolicy(
  { fieldEncryption, installation }: Session,
  { dryRun = false, yes = false }: DryRunOption & { readonly yes?: boolean },
): Promise<CommandResult> {
  const { configured, policies } = installation.approvals;
  const stored = await policies.newest();
  if (dryRun) return shown(stored, configured);
  if (stored === undefined && configured !== undefined) {
    await confirm(yes, {
      warning:
        `${policyText(configured)}\nThis makes them the approvers. Compare the fingerprints with theirs: ` +
        'ssh-keygen -l -f <key>.pub. From then on only they can change that.',
      word: 'approvals',
    });
  }
  const change = await fieldEncryption.approvals.setPolicy();
  const what = `version ${String(change.version)} of the policy`;
  return {
    document: { dryRun, ...change },
    text: change.changed ? `Stored ${what}.` : `In force: ${what}.`,
  };
}

/** Shows the policy in force, and what the option would make of it. */
function shown(
  stored: StoredPolicy | undefined,
  configured: CheckedPolicy | undefined,
): CommandResult {
  const isSame =
    stored !== undefined && configured !== undefined && isSamePolicy(stored, configured);
  const now =
    stored === undefined
      ? ['No policy is stored.']
      : [`Version ${String(stored.version)} is stored:`, policyText(stored)];
  const option =
    configured === undefined
      ? ['There is no option approvals.']
      : ['The option approvals is another one:', policyText(configured)];
  return {
    document: {
      ...{ dryRun: true, version: stored?.version ?? null },
      stored: stored === undefined ? null : policyValue(stored),
      configured: configured === undefined ? null : policyValue(configured),
    },
    text: [...now, ...(isSame ? ['The option approvals is the same.'] : option)].join('\n'),
  };
}

function policyText({ operations, required, approvers, expiresAfterMs }: CheckedPolicy): string {
  const hours = Math.round(expiresAfterMs / HOUR_MS);
  return [
    `  Need approval: ${operations.length === 0 ? 'nothing' : operations.join(', ')}`,
    `  Of: ${String(required)}, besides the one who asks, within ${String(hours)} h`,
    ...approvers.map(({ id, key }) => `  ${id}  ${fingerprintOf(key)}`),
  ].join('\n');
}

/** Returns the fingerprint of a public key, as `ssh-keygen -l` prints it. */
function fingerprintOf(line: string): string {
  const [type = '', bytes = ''] = line.split(' ');
  const digest = createHash('sha256').update(Buffer.from(bytes, 'base64')).digest('base64');
  return `SHA256:${digest.replace(/=+$/, '')} (${type})`;
}
