import type { Session } from '../../load/session';
import type { CommandResult } from '../../terminal/output';

import { commandLine } from '../command-line';
import { namedScope } from './named-scope';

/** Options of the commands on one scope. */
export interface ScopeCommandOptions {
  readonly kind?: string | undefined;
  readonly dryRun: boolean;
}

/** Puts a scope under a legal hold, or ends that. */
export async function keysHold(
  session: Session,
  id: string,
  {
    kind,
    reason,
    dryRun,
    releases,
  }: ScopeCommandOptions & { readonly reason: string; readonly releases: boolean },
): Promise<CommandResult> {
  const scope = await namedScope(session, id, kind);
  if (!dryRun) {
    const { keys } = session.fieldEncryption;
    const named = { scope: { [scope.kind]: id }, reason };
    await (releases ? keys.release(named) : keys.hold(named));
  }
  const done = releases
    ? [`end the legal hold of ${scope.title}`, `The legal hold of ${scope.title} has ended.`]
    : [
        `put ${scope.title} under a legal hold`,
        `${scope.title} is under a legal hold: it is not erased until the hold is released.`,
      ];
  return {
    document: { dryRun, kind: scope.kind, scope: id, held: !releases },
    text: dryRun ? `Would ${String(done[0])}. Nothing was changed.` : String(done[1]),
  };
}

/** Gives a scope a new data key. */
export async function keysRotateScope(
  session: Session,
  id: string,
  { kind, dryRun }: ScopeCommandOptions,
): Promise<CommandResult> {
  const scope = await namedScope(session, id, kind);
  const named = { dryRun, kind: scope.kind, scope: id };
  if (dryRun) {
    return {
      document: named,
      text: `Would give ${scope.title} a new data key. Nothing was changed.`,
    };
  }
  const keyId = await session.fieldEncryption.keys.rotateScope({ [scope.kind]: id });
  return {
    document: { ...named, keyId },
    text: [
      `Key ${keyId} of ${scope.title} is active. Rows stay under their key until you run:`,
      `  ${commandLine(session, 'data', 'reencrypt')}`,
    ].join('\n'),
  };
}
