import type { MarkedScope } from '../../../keys/scopes/erasure/marked-scopes';
import { markedScopes } from '../../../keys/scopes/erasure/marked-scopes';
import type { Session } from '../../load/session';
import type { CommandResult } from '../../terminal/output';
import { table } from '../../terminal/table';

import { dateText } from '../keys-list';
import { declaredKind } from './named-scope';

/** Lists the scopes under a legal hold, and those to be erased. */
export async function keysScopes(
  session: Session,
  { kind, limit }: { readonly kind: string | undefined; readonly limit: number },
): Promise<CommandResult> {
  const ofKind = kind === undefined ? undefined : declaredKind(session, kind);
  const { scopes: keys } = session.installation.keys;
  const found = await markedScopes(keys, { kind: ofKind, limit: limit + 1 });
  const [scopes, more] = [found.slice(0, limit), found.length > limit];
  return {
    document: { scopes, more },
    text: [
      scopes.length === 0
        ? 'No scope is under a legal hold, and none is to be erased.'
        : scopesTable(scopes),
      ...(more ? ['There are more: see --limit.'] : []),
    ].join('\n'),
  };
}

function scopesTable(scopes: readonly MarkedScope[]): string {
  return table(
    ['KIND', 'SCOPE', 'STATE', 'SINCE', 'CAN BE ERASED FROM'],
    scopes.map(({ kind, id, mark, since, erasableFrom, failure }) => [
      kind,
      id,
      failure ?? STATES[mark],
      dateText(since),
      erasableFrom === null ? '' : dateText(erasableFrom),
    ]),
  );
}

const STATES: Readonly<Record<MarkedScope['mark'], string>> = {
  hold: 'under a legal hold',
  erasure: 'erasure requested',
};
