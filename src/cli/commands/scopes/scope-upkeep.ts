import { counted } from '../../../doctor/finding';
import { earlierBranches } from '../../../keys/scopes/scope-resealing';
import type { Session } from '../../load/session';
import { EXIT_CODES } from '../../terminal/command-error';
import type { CommandResult } from '../../terminal/output';

import type { CommandWork } from '../common-options';
import { aboutScope } from './about-scope';
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
  const { keys } = session.fieldEncryption;
  const { marks } = session.installation.keys.scopes;
  const named = { scope: { [scope.kind]: id }, reason };
  await aboutScope(session, scope, async () => {
    if (!dryRun) await (releases ? keys.release(named) : keys.hold(named));
    else if (releases) await marks.requireMarked(scope, 'hold');
    else await marks.requireUnmarked(scope, 'hold');
  });
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

/** Seals the keys of scopes under the newest branch key; the exit code says whether all of them are. */
export async function keysReseal(
  { installation, fieldEncryption: { keys } }: Session,
  { dryRun }: Pick<ScopeCommandOptions, 'dryRun'>,
): ReturnType<CommandWork> {
  if (dryRun) {
    const earlier = earlierBranches(await keys.list()).map(({ id }) => id);
    const due = await installation.keys.scopes.store.countSealedBy(earlier);
    return {
      document: { dryRun, due },
      text: `${counted(due, 'key')} of scopes would be sealed under the newest branch key. Nothing was changed.`,
    };
  }
  const report = await keys.resealScopes();
  const { resealed, conflicts, failures } = report;
  return {
    document: { dryRun, ...report },
    text: [
      `${counted(resealed, 'key')} of scopes sealed under the newest branch key.`,
      ...(conflicts > 0 ? ['Others were changed meanwhile. Run the command again.'] : []),
      ...failures.map(
        ({ kind, code, message, keys: left }) =>
          `${counted(left, 'key')} of scopes left (${kind}): ${code}: ${message}`,
      ),
    ].join('\n'),
    exitCode: conflicts + failures.length === 0 ? EXIT_CODES.done : EXIT_CODES.failed,
  };
}
