import { counted } from '../../../doctor/finding';
import type { ScopeRotation } from '../../../keys/lifecycle/maintenance-report';
import { ALL_SCOPES } from '../../../keys/scopes/scope-context';
import type { RotateScopesOptions } from '../../../scope-keys';
import type { Session } from '../../load/session';
import { EXIT_CODES } from '../../terminal/command-error';

import { commandLine } from '../command-line';
import type { CommandWork } from '../common-options';
import { declaredKind, namedScopes, scopeIdsOf } from './named-scope';

/** Options of `keys rotate` for scopes. */
export interface RotateScopesCommand {
  /** Ids; undefined for all. */
  readonly scope: readonly string[] | undefined;
  readonly kind: string | undefined;
  readonly olderThanDays: number | undefined;
  readonly dryRun: boolean;
}

/** Gives scopes new data keys; the exit code says whether all that are not erased have one. */
export async function keysRotateScopes(
  session: Session,
  { scope, kind, olderThanDays, dryRun }: RotateScopesCommand,
): ReturnType<CommandWork> {
  const which = await chosenScopes(session, scope, kind);
  const { keys } = session.fieldEncryption;
  const rotations = await keys.rotateScopes({ ...which, olderThanDays, dryRun });
  const isDone = rotations.every(({ failures }) => failures.length === 0);
  return {
    document: { dryRun, rotations },
    text: [
      ...rotations.flatMap((rotation) => rotationLines(rotation, dryRun)),
      ...(dryRun
        ? ['Nothing was changed.']
        : [
            `Rows stay under their key until you run:\n  ${commandLine(session, 'data', 'reencrypt')}`,
          ]),
    ].join('\n'),
    exitCode: isDone ? EXIT_CODES.done : EXIT_CODES.failed,
  };
}

async function chosenScopes(
  session: Session,
  ids: readonly string[] | undefined,
  kind: string | undefined,
): Promise<RotateScopesOptions> {
  if (ids !== undefined) return { scopes: scopeIdsOf(await namedScopes(session, ids, kind)) };
  return kind === undefined ? { scopes: ALL_SCOPES } : { kind: declaredKind(session, kind) };
}

/** Describes the rotation of the keys of one kind of scopes. */
export function rotationLines(
  { kind, rotated, erased, failures }: ScopeRotation,
  dryRun: boolean,
): string[] {
  const scopes = `${counted(rotated, 'scope')} of kind ${kind}`;
  const left = erased === 0 ? '' : `; ${counted(erased, 'erased one')} left alone`;
  return [
    dryRun ? `${scopes} would get a new data key.` : `${scopes} got a new data key${left}.`,
    ...failures.map(
      ({ code, message, scopes: count }) =>
        `  ${counted(count, 'scope')} did not: ${code}: ${message}`,
    ),
  ];
}
