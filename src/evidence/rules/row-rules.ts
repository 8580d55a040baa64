import type { ColumnEvidence } from '../column-evidence';

import { findingIf } from './rule';
import type { Rule } from './rule';

const CRYPTOGRAPHY = ['ISO 27001:2022 A.8.24', 'SOC 2 CC6.1'];

/** What is wrong with a column, and what to do. */
type ColumnProblem = readonly [isBroken: boolean, message: string, remedy: string];

/** Checks one column after the other. */
function eachColumn(
  problemsOf: (column: ColumnEvidence) => readonly ColumnProblem[],
): Rule['check'] {
  return ({ columns }) =>
    columns.flatMap((column) =>
      problemsOf(column).flatMap(([isBroken, message, remedy]) =>
        findingIf(isBroken, `${column.entity}.${column.property}`, message, remedy),
      ),
    );
}

/** Rules on what is stored in rows. */
export const ROW_RULES: readonly Rule[] = [
  {
    id: 'cleartext-rows',
    title: 'No row of an encrypted column is readable',
    severity: 'high',
    controls: CRYPTOGRAPHY,
    shows:
      'Every value in the column begins like a ciphertext and is long enough for one, by a count of all rows.',
    doesNotShow:
      'What follows the beginning, which `field-encryption data verify` decrypts; or other columns, backups and logs.',
    check: eachColumn(({ cleartextRows, scopes }) => [
      [
        cleartextRows > 0,
        `${String(cleartextRows)} rows hold no ciphertext.`,
        'Run `field-encryption data encrypt`.',
      ],
      [
        (scopes?.erasedCleartextRows ?? 0) > 0,
        `${String(scopes?.erasedCleartextRows)} rows of erased scopes stay readable.`,
        'Delete them, or set the column to NULL in them.',
      ],
    ]),
  },
  {
    id: 'lost-key-rows',
    title: 'No row is under a key that is destroyed or missing',
    severity: 'high',
    controls: ['PCI DSS 4.0.1 3.7.5', 'ISO 27001:2022 A.8.24'],
    shows: 'Every ciphertext names a key that can still decrypt, or one of an erased scope.',
    doesNotShow: 'That rows in backups of the database have their keys.',
    check: eachColumn(({ keys }) =>
      keys.map(({ keyId, name, rows, state }) => [
        name === null || state === 'destroyed',
        `${String(rows)} rows are under key ${keyId}, which is ${state ?? 'not in the key table'}.`,
        'Restore the key (`field-encryption keys restore <file>`), or delete the rows.',
      ]),
    ),
  },
  {
    id: 'compromised-key-rows',
    title: 'No row is under a compromised key',
    severity: 'high',
    controls: ['PCI DSS 4.0.1 3.7.5', 'NIST SP 800-57 part 1, 8.3.5'],
    shows: 'Rows were moved off the keys that were revoked.',
    doesNotShow: 'That all compromised keys were revoked.',
    check: eachColumn(({ keys }) =>
      keys.map(({ keyId, rows, state }) => [
        state === 'compromised',
        `${String(rows)} rows are under key ${keyId}, which is compromised.`,
        'Run `field-encryption data reencrypt`.',
      ]),
    ),
  },
  {
    id: 'check-missing',
    title: 'The database refuses cleartext',
    severity: 'medium',
    controls: CRYPTOGRAPHY,
    shows: 'The CHECK constraint of the column, by its name, is in the database.',
    doesNotShow: 'That nobody can drop it: its owner can.',
    check: eachColumn(({ check: { name, outdated, present } }) => [
      [
        name !== null && !present,
        'The CHECK constraint against cleartext is not in the database.',
        'Run `field-encryption schema contract`, and then the migration that it writes.',
      ],
      [
        outdated !== null,
        `The CHECK constraint ${String(outdated)} is from before the column changed.`,
        'Write the migration that drops it with `migration:generate`.',
      ],
    ]),
  },
  {
    id: 'sample-unverified',
    title: 'Sampled values decrypt',
    severity: 'high',
    controls: ['ISO 27001:2022 A.8.24'],
    shows: 'The authentication tags of the sampled values hold under their keys.',
    doesNotShow: 'Anything about other rows; `field-encryption data verify` reads all of them.',
    check: eachColumn(({ sample }) =>
      Object.entries(sample.failures).map(([code, values]) => [
        !NOT_DECIDED.has(code),
        `${String(values)} of ${String(sample.values)} sampled values do not decrypt: ${code}.`,
        'Run `field-encryption data verify`, which names the rows.',
      ]),
    ),
  },
  {
    id: 'plaintext-beside',
    title: 'The plaintext is not stored beside its ciphertext',
    severity: 'high',
    controls: CRYPTOGRAPHY,
    shows: 'No column of a sampled row holds the plaintext as text, hexadecimal or base64.',
    doesNotShow: 'That other rows, other tables or other forms do not hold it.',
    check: eachColumn(({ sample }) =>
      Object.entries(sample.readableIn).map(([column, rows]) => [
        rows > 0,
        `The column ${column} holds the plaintext in ${String(rows)} of ${String(sample.sought)} sampled rows.`,
        `Encrypt ${column}, or empty it.`,
      ]),
    ),
  },
  {
    id: 'unmapped-ciphertexts',
    title: 'No column without an entity holds ciphertexts',
    severity: 'medium',
    controls: ['PCI DSS 4.0.1 3.6.1', 'ISO 27001:2022 A.8.24'],
    shows: 'No text column that no entity maps has values that begin like those of a known key.',
    doesNotShow: 'Copies in binary columns, virtual tables, other databases, replicas or files.',
    check: ({ unmapped: { found } }) =>
      found.map(({ table, column, rows }) => ({
        subject: `${table}.${column}`,
        message: `${String(rows)} values are under known keys, and no re-encryption or erasure reaches them.`,
        remedy: 'Drop the copy, or map it with an entity, before keys are destroyed.',
      })),
  },
];

/** Codes by which a value was not decided on, which `notChecked` lists. */
export const NOT_DECIDED: ReadonlySet<string> = new Set([
  ...['ERR_SCOPE_MISSING', 'ERR_ERASED', 'ERR_KMS_UNAVAILABLE', 'ERR_ACCESS_DENIED'],
  'ERR_RATE_LIMITED',
]);
