import { storedChecks } from '../../typeorm/installation/missing-checks';
import { describeColumn } from '../../typeorm/metadata/encrypted-column';
import type { EncryptedColumn } from '../../typeorm/metadata/encrypted-column';
import { finding } from '../finding';
import type { DatabaseCheck, Finding } from '../finding';

/** Checks that CHECK constraints keep cleartext out, and let pass what is written now. */
export const checkConstraints: DatabaseCheck = async (installation, runner) => {
  const stored = await storedChecks(installation, runner);
  return stored.flatMap(({ encrypted, isMissing, outdated }) =>
    outdated === undefined
      ? isMissing
        ? [checkMissing(encrypted)]
        : []
      : [checkOutdated(encrypted, outdated)],
  );
};

function checkMissing(encrypted: EncryptedColumn): Finding {
  return finding(
    'CHECK_MISSING',
    `${describeColumn(encrypted)}: the database would take cleartext in the column, from SQL that goes past this library.`,
    'Run `field-encryption schema contract`, and then the migration that it writes.',
  );
}

function checkOutdated(encrypted: EncryptedColumn, name: string): Finding {
  return finding(
    'CHECK_OUTDATED',
    `${describeColumn(encrypted)}: the CHECK constraint "${name}" of its column is from before \`bindTo\`, or the scope of its keys, changed: it may refuse what is written now.`,
    'Have `migration:generate` write the migration that drops it, and run that.',
  );
}
