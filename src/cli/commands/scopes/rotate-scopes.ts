import { counted } from '../../../doctor/finding';
import type { ScopeRotation } from '../../../keys/lifecycle/maintenance-report';
import { erasedError } from '../../../keys/scopes/erasure/marks-of-scopes';
import { ALL_SCOPES } from '../../../keys/scopes/scope-context';
import type { ScopeIds } from '../../../keys/scopes/scope-context';
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

/** Gives scopes new data keys; the exit code says whether all that are named have one, or all that are not erased. */
export async function keysRotateScopes(
  session: Session,
  { scope, kind, olderThanDays, dryRun }: RotateScopesCommand,
): ReturnType<CommandWork> {
  const which = await chosenScopes(session, { scope, kind, dryRun });
  const { keys } = session.fieldEncryption;
  const rotations = await keys.rotateScopes({ ...which, olderThanDays, dryRun });
  const isDone = rotations.every(
    ({ erased, failures }) => failures.length === 0 && (scope === undefined || erased === 0),
  );
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
  { scope, kind, dryRun }: Omit<RotateScopesCommand, 'olderThanDays'>,
): Promise<{ readonly scopes: ScopeIds[] | typeof ALL_SCOPES } | { readonly kind: string }> {
  if (scope === undefined) {
    return kind === undefined ? { scopes: ALL_SCOPES } : { kind: declaredKind(session, kind) };
  }
  const named = await namedScopes(session, scope, kind);
  for (const each of dryRun ? named : []) {
    const mark = await session.installation.keys.scopes.marks.find(each, 'erasure');
    if (mark !== undefined) throw erasedError(mark);
  }
  return { scopes: scopeIdsOf(named) };
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
