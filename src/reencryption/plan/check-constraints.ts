import type { DataSource } from 'typeorm';

import { RunPlanError } from '../../errors';
import { withConnection } from '../../typeorm/connection/lent-connection';
import { checkNames } from '../../typeorm/metadata/check-names';
import { ciphertextCheck, otherCiphertextCheck } from '../../typeorm/metadata/ciphertext-check';
import { describeColumn } from '../../typeorm/metadata/encrypted-column';
import type { EncryptedColumn } from '../../typeorm/metadata/encrypted-column';
import type { WorkTable } from '../database/work-table';
import type { Mode } from '../modes/mode';

/**
 * Refuses to write values that a CHECK constraint keeps out of their column: cleartext, or values that are
 * bound to their rows where the constraint is from before `bindTo` or keys of scopes. The database would refuse
 * the rows itself, with their values in its error.
 *
 * @throws {@link RunPlanError}
 */
export async function assertUnchecked(
  dataSource: DataSource,
  { metadata, columns }: WorkTable,
  mode: Pick<Mode, 'name' | 'writes'>,
): Promise<void> {
  if (mode.writes === 'nothing' || mode.writes === 'tokens') return;
  const names = await withConnection(dataSource, undefined, (runner) =>
    checkNames(runner, metadata),
  );
  if (names === undefined) return;
  for (const { encrypted } of columns) {
    const { binding, column, policy } = encrypted;
    const outdated = otherCiphertextCheck(column, policy, dataSource).name;
    if (mode.name === 'decrypt') {
      const { name } = ciphertextCheck(column, policy, dataSource);
      const found = [name, outdated].find((each) => names.has(each));
      if (found !== undefined) throw checked(encrypted, found, CLEARTEXT);
    } else if (binding !== undefined && names.has(outdated)) {
      throw checked(
        encrypted,
        outdated,
        `is ${origin(encrypted)}, and refuses what is written now`,
      );
    }
  }
}

const CLEARTEXT = 'keeps cleartext out of its column';

function origin({ scope }: EncryptedColumn): string {
  return `from before the property had ${scope === undefined ? 'bindTo' : `keys of each ${scope.kind}`}`;
}

/** Names no migration to revert: the one with the constraint may be the one that makes the table. */
function checked(encrypted: EncryptedColumn, name: string, why: string): RunPlanError {
  const { entity, property } = encrypted.policy;
  return new RunPlanError(
    `${describeColumn(encrypted)}: the CHECK constraint "${name}" ${why}. Have \`migration:generate\` write the ` +
      'migration that drops it, run that, and then this again.',
    { entity, property },
  );
}
