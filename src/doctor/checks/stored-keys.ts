import { keyIdOfPrefix } from '../../format/data-key-id';
import { scopeKeyIds } from '../../reencryption/coverage/scope-rows';
import { encryptedTables } from '../../reencryption/encrypted-table';
import { catalogOf } from '../../typeorm/dialect/dialect-of';
import { storedSamples } from '../../typeorm/installation/stored-samples';
import { describeColumn, mayHoldOthers } from '../../typeorm/metadata/encrypted-column';
import type { EncryptedColumn } from '../../typeorm/metadata/encrypted-column';
import { ScopeKeySchema } from '../../typeorm/tables/scope-key-table';
import { RESTORE_SCOPE_KEYS } from '../absent-keys';
import { finding } from '../finding';
import type { DatabaseCheck, Finding } from '../finding';

import { mayRead } from './cleartext';
import { mayHide } from './own-tables';

/**
 * Samples columns with keys of scopes for values under a common key that `legacyScope` does not let be read, and
 * for those whose key is gone.
 */
export const storedKeys: DatabaseCheck = async (installation, runner) => {
  const { dataSource, hasScopes, store } = installation;
  const { tablePath } = dataSource.getMetadata(ScopeKeySchema);
  // Missing tables are findings of their own.
  if (
    !hasScopes ||
    !(await store.exists(runner)) ||
    !(await catalogOf(runner).tableExists(runner, tablePath))
  ) {
    return [];
  }
  const common = new Set((await store.list(runner)).map(({ id }) => id));
  const found: Finding[] = [];
  for (const table of encryptedTables(installation)) {
    // Hidden rows are a finding of their own.
    if (await mayHide(runner, table.name)) continue;
    for (const encrypted of table.columns) {
      if (encrypted.scope === undefined) continue;
      if (!(await mayRead(runner, table, encrypted))) continue;
      const samples = await storedSamples(runner, table.metadata, encrypted);
      const ids = samples.flatMap((stored) => keyIdOf(stored, encrypted) ?? []);
      const ofScopes = await scopeKeyIds(installation, runner, ids);
      if (!encrypted.policy.readsUnscoped && ids.some((id) => common.has(id))) {
        found.push(commonKeyFound(encrypted));
      }
      if (!mayHoldOthers(encrypted) && ids.some((id) => !common.has(id) && !ofScopes.has(id))) {
        found.push(keyGone(encrypted));
      }
    }
  }
  return found;
};

function keyIdOf(stored: unknown, { cipher }: EncryptedColumn): string | undefined {
  const found = cipher.inspect(stored);
  return found.kind === 'ciphertext' ? keyIdOfPrefix(found.prefix) : undefined;
}

function commonKeyFound(encrypted: EncryptedColumn): Finding {
  const name = describeColumn(encrypted);
  return finding(
    'COMMON_KEY_FOUND',
    `${name}: rows hold values under a common key, and legacyScope does not name the property: reading them fails, look-ups do not find them, and a unique index takes a second row with the same value.`,
    `Add '${name}' to the option legacyScope until \`field-encryption data reencrypt\` has moved the rows.`,
  );
}

function keyGone(encrypted: EncryptedColumn): Finding {
  return finding(
    'KEY_LOST',
    `${describeColumn(encrypted)}: rows need keys of scopes that their table does not hold.`,
    RESTORE_SCOPE_KEYS,
  );
}
