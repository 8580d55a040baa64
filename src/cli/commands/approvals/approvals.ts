import { InvalidArgumentError } from 'commander';
import type { Command } from 'commander';

import type { RequestInfo } from '../../../approvals';
import { NAMESPACE } from '../../../approvals/ssh/ssh-signature';
import type { Session } from '../../load/session';
import { CommandError } from '../../terminal/command-error';
import { readText } from '../../terminal/named-file';
import type { CommandResult } from '../../terminal/output';
import { table } from '../../terminal/table';

import { approvalsPolicy } from './policy';
import { commandLine } from '../command-line';
import { DRY_RUN, YES } from '../common-options';
import type { ChooseWork, DryRunOption } from '../common-options';

/** Lists the requests that can be approved or carried out. */
async function approvalsList({ fieldEncryption }: Session): Promise<CommandResult> {
  const requests = await fieldEncryption.approvals.list();
  const rows = requests.map((request) => [
    request.id,
    request.operation,
    targetText(request),
    parametersText(request),
    request.requester + (request.signedByRequester ? '' : ' (not signed)'),
    `${String(request.approvedBy.length)} of ${String(request.required)}`,
    request.expiresAt.toISOString(),
  ]);
  return {
    document: requests,
    text:
      rows.length === 0
        ? 'No request is open.'
        : table(['REQUEST', 'OPERATION', 'KEY', 'PARAMETERS', 'BY', 'APPROVED', 'ENDS'], rows),
  };
}

/** Returns the id of the key that a request is about, if it is about one. */
function targetText({ target }: RequestInfo): string {
  const { key } = Object(target) as { readonly key?: unknown };
  return typeof key === 'string' ? key : '';
}

function parametersText({ parameters }: RequestInfo): string {
  const text = JSON.stringify(parameters);
  return text === '{}' ? '' : text;
}

/** Shows a request as it is signed. On stdout is nothing else, to be written to a file. */
async function approvalsShow(session: Session, id: string): Promise<CommandResult> {
  const request = await requestOf(session, id);
  const file = `${id}.json`;
  session.output.progress(
    [
      'Read what is asked for. To sign it, and to hand the signature in:',
      `  ${commandLine(session, 'approvals', 'show', id)} > ${file}`,
      `  ssh-keygen -Y sign -n ${NAMESPACE} -f ~/.ssh/id_ed25519 ${file}`,
      `  ${commandLine(session, 'approvals', 'approve', id, '--signature', `${file}.sig`)}`,
    ].join('\n'),
  );
  return { document: request, text: request.document.trimEnd() };
}

/** Adds a signature to a request. */
async function approvalsApprove(
  session: Session,
  id: string,
  { signature, dryRun = false }: DryRunOption & { readonly signature: string },
): Promise<CommandResult> {
  const armored = readText(signature);
  const before = await requestOf(session, id);
  if (dryRun) {
    const text = `Would add the signature. ${approvalsText(before)}`;
    return { document: { dryRun, ...before }, text };
  }
  const request = await session.fieldEncryption.approvals.approve(id, armored);
  return {
    document: { dryRun, ...request },
    text: `Signed by ${signerText(before, request)}. ${approvalsText(request)}`,
  };
}

/** Names whoever has signed between two states of a request. */
function signerText(before: RequestInfo, { approvedBy, requester }: RequestInfo): string {
  const approver = approvedBy.find((each) => !before.approvedBy.includes(each));
  return approver ?? `${requester}, who asks`;
}

function approvalsText(request: RequestInfo): string {
  const { id, approvedBy, required, requester, signedByRequester } = request;
  const count = `Request ${id} has ${String(approvedBy.length)} of ${String(required)} approvals`;
  if (!signedByRequester) return `${count}, and not the signature of ${requester}, who asks.`;
  return approvedBy.length < required ? `${count}.` : `${count}: ${requester} can run it now.`;
}

async function requestOf({ fieldEncryption }: Session, id: string): Promise<RequestInfo> {
  const request = await fieldEncryption.approvals.find(id);
  if (request !== undefined) return request;
  throw new CommandError(
    'ERR_APPROVAL_REQUIRED',
    `There is no open request ${id}.`,
    'See `field-encryption approvals list`; run the operation again for a new one.',
  );
}

function requestId(text: string): string {
  if (/^[0-9a-f]{32}$/.test(text)) return text;
  throw new InvalidArgumentError('It must be the id of a request: 32 hexadecimal digits.');
}

/** Adds the commands on approvals. */
export function addApprovals(program: Command, choose: ChooseWork): void {
  const approvals = program
    .command('approvals')
    .description('operations that take more than one person');
  approvals
    .command('policy')
    .description(
      'store the policy of the option approvals, or have its change approved; show it: --dry-run',
    )
    .option(...DRY_RUN)
    .option(...YES)
    .action((flags: DryRunOption & { readonly yes?: boolean }) => {
      choose((session) => approvalsPolicy(session, flags));
    });
  approvals
    .command('list')
    .description('list the open requests')
    .action(() => {
      choose(approvalsList);
    });
  approvals
    .command('show')
    .description('show a request as it is signed')
    .argument('<id>', 'id of the request', requestId)
    .action((id: string) => {
      choose((session) => approvalsShow(session, id));
    });
  approvals
    .command('approve')
    .description('add a signature to a request')
    .argument('<id>', 'id of the request', requestId)
    .requiredOption('--signature <file>', 'as ssh-keygen -Y sign wrote it')
    .option(...DRY_RUN)
    .action((id: string, flags: DryRunOption & { readonly signature: string }) => {
      choose((session) => approvalsApprove(session, id, flags));
    });
}
