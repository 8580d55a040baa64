import type { FieldEncryptionErrorCode } from '../errors';

/** What an operator can do about each error; docs/troubleshooting.md has the long form. */
export const REMEDIES: Readonly<Record<FieldEncryptionErrorCode, string>> = Object.freeze({
  ERR_CONFIGURATION: 'Correct the set-up that the message names and run the command again.',
  ERR_FIELD_POLICY:
    'Correct the decorator that the message names, build, and run the command again.',
  ERR_KEY_NOT_FOUND:
    'Restore the row of the data_keys table from a backup of this database, or the keys from one of theirs: field-encryption keys restore',
  ERR_KEY_STATE: 'Look at the keys with `field-encryption keys list`.',
  ERR_KEY_UNWRAP:
    'Use the passphrase or key file that the keys were made under; if it is the right one, restore the data_keys table from a backup.',
  ERR_KEY_UNAUTHENTICATED:
    'Look at the keys with `field-encryption keys adopt --dry-run`; adopt those that are yours.',
  ERR_KMS_UNAVAILABLE: 'Check that the KMS can be reached, then run the command again.',
  ERR_CIPHERTEXT_MALFORMED: 'Restore the row from a backup; its column may be too narrow.',
  ERR_CIPHER_SUITE:
    'Use the version of typeorm-field-encryption that made the key, or a later one.',
  ERR_DECRYPTION: 'Restore the row from a backup, or the application name it was written under.',
  ERR_PLAINTEXT_FOUND:
    'List the property in the option legacyPlaintext, and encrypt its rows: field-encryption data encrypt',
  ERR_INDEX_INTEGRITY:
    'Find out who writes tokens to the table, then run data verify and data reindex.',
  ERR_UNSUPPORTED_QUERY: 'Change the query as the message says.',
  ERR_UNSUPPORTED_VALUE: 'Correct the value.',
  ERR_VALIDATION: 'Correct the value.',
  ERR_RUN_INTERRUPTED:
    'Mend what the database reports and run the command again; it goes on where it stopped.',
  ERR_RUN_PLAN: 'Do what the message says and run the command again.',
  ERR_AUDIT: 'Bring the audit sink back, then run the command again.',
});
