import { counted, grouped } from '../../../doctor/finding';
import type { ScopeRotation } from '../../../keys/lifecycle/maintenance-report';
import { ALL_SCOPES } from '../../../keys/scopes/scope-context';
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

/** Gives scopes new data keys. A scope that is erased, or to be erased, is left alone; one that fails is exit code 1. */
export async function keysRotateScopes(
  session: Session,
  { scope, kind, olderThanDays, dryRun }: RotateScopesCommand,
): ReturnType<CommandWork> {
  const named = scope === undefined ? undefined : await namedScopes(session, scope, kind);
  const { keys } = session.fieldEncryption;
  const which = named === undefined ? allScopes(session, kind) : { scopes: scopeIdsOf(named) };
  const rotations = await keys.rotateScopes({ ...which, olderThanDays, dryRun });
  const hasRotated = rotations.some(({ rotated }) => rotated > 0);
  const only = (named ?? []).flatMap(({ id }) => ['--scope', id]);
  const ofKind = named === undefined || kind === undefined ? [] : ['--kind', kind];
  return {
    document: { dryRun, rotations },
    text: [
      ...rotations.flatMap((rotation) => rotationLines(rotation, dryRun)),
      ...(dryRun ? ['Nothing was changed.'] : []),
      ...(hasRotated && !dryRun
        ? [
            `Rows stay under their key until you run:\n  ${commandLine(session, 'data', 'reencrypt', ...only, ...ofKind)}`,
          ]
        : []),
    ].join('\n'),
    exitCode: rotations.every(({ failures }) => failures.length === 0)
      ? EXIT_CODES.done
      : EXIT_CODES.failed,
  };
}

function allScopes(
  session: Session,
  kind: string | undefined,
): { readonly scopes: typeof ALL_SCOPES } | { readonly kind: string } {
  return kind === undefined ? { scopes: ALL_SCOPES } : { kind: declaredKind(session, kind) };
}

/** Describes the rotation of the keys of one kind of scopes. */
export function rotationLines(
  { kind, rotated, erased, toBeErased, failures }: ScopeRotation,
  dryRun: boolean,
): string[] {
  const scopes = `${counted(rotated, 'scope')} of kind ${kind}`;
  const left = [
    ...(erased === 0 ? [] : [`${grouped(erased)} erased`]),
    ...(toBeErased === 0 ? [] : [`${grouped(toBeErased)} to be erased`]),
  ].join(' and ');
  return [
    `${scopes} ${dryRun ? 'would get' : 'got'} a new data key${left === '' ? '' : `; ${left}, left alone`}.`,
    ...failures.map(
      ({ code, message, scopes: count }) =>
        `  ${counted(count, 'scope')} did not: ${code}: ${message}`,
    ),
  ];
}
