import { grouped } from '../../../doctor/finding';
import type { ScopeStatus } from '../../../reencryption/coverage/scope-status';
import type { Session } from '../../load/session';
import type { CommandResult } from '../../terminal/output';
import { table } from '../../terminal/table';

import { dateText } from '../keys-list';
import { namedScopes, scopeIdsOf } from './named-scope';

/** Shows the keys of scopes, and how many rows need them. */
export async function statusOfScopes(
  session: Session,
  ids: readonly string[],
  kind: string | undefined,
): Promise<CommandResult> {
  const named = await namedScopes(session, ids, kind);
  const scopes = await session.fieldEncryption.keys.scopeStatus(scopeIdsOf(named));
  return { document: { scopes }, text: scopes.map(describe).join('\n\n') };
}

const STATES: Readonly<Record<ScopeStatus['state'], string>> = {
  ...{ active: 'in use', requested: 'erasure requested', erased: 'erased' },
};

function describe({ kind, scope, state, held, keys, columns }: ScopeStatus): string {
  return [
    `${kind} "${scope}": ${STATES[state]}${held ? ', under a legal hold' : ''}`,
    table(
      ['KEY', 'STATE', 'ID', 'SINCE'],
      keys.map(({ purpose, version, state: ofKey, id, since }) => [
        `${purpose} v${String(version)}`,
        ...[ofKey, id, dateText(since)],
      ]),
    ),
    table(
      ['PROPERTY', 'ROWS UNDER ACTIVE KEY', 'OLDER KEYS', 'ERASED', 'CLEARTEXT'],
      columns.map(({ entity, property, activeRows, olderRows, erasedRows, cleartextRows }) => [
        `${entity}.${property}`,
        ...[activeRows, olderRows, erasedRows, cleartextRows].map(grouped),
      ]),
    ),
  ].join('\n\n');
}
