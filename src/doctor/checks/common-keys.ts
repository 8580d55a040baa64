import { keyIdOfPrefix } from '../../format/data-key-id';
import { encryptedTables } from '../../reencryption/encrypted-table';
import { storedSamples } from '../../typeorm/installation/stored-samples';
import { describeColumn } from '../../typeorm/metadata/encrypted-column';
import type { EncryptedColumn } from '../../typeorm/metadata/encrypted-column';
import { finding } from '../finding';
import type { DatabaseCheck, Finding } from '../finding';

import { mayRead } from './cleartext';
import { mayHide } from './own-tables';

/** Samples columns with keys of scopes for values under a common key that `legacyScope` does not let be read. */
export const commonKeys: DatabaseCheck = async (installation, runner) => {
  if (!installation.hasScopes || !(await installation.store.exists(runner))) return [];
  const common = new Set((await installation.store.list(runner)).map(({ id }) => id));
  const found: Finding[] = [];
  for (const table of encryptedTables(installation)) {
    // Hidden rows are a finding of their own.
    if (await mayHide(runner, table.name)) continue;
    for (const encrypted of table.columns) {
      if (encrypted.scope === undefined || encrypted.policy.readsUnscoped) continue;
      if (!(await mayRead(runner, table, encrypted))) continue;
      const samples = await storedSamples(runner, table.metadata, encrypted);
      if (samples.some((stored) => common.has(keyIdOf(stored, encrypted) ?? ''))) {
        found.push(commonKeyFound(encrypted));
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
