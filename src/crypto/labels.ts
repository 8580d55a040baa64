/**
 * The domain-separation labels, so that bytes made for one purpose mean nothing for another. They are
 * part of the stored forms: a label can be added, never changed.
 */
export const LABELS = Object.freeze({
  /** Begins the associated data of every field ciphertext. */
  fieldAssociatedData: 'typeorm-field-encryption/v1/field',
  /** Begins the HKDF info of every blind-index key. */
  indexKey: 'typeorm-field-encryption/v1/index-key',
  /** Begins the associated data of a value that is not a field's. */
  purposeAssociatedData: 'typeorm-field-encryption/v1/purpose-value',
  /** Begins the HKDF info of the key of such values' tokens. */
  purposeIndexKey: 'typeorm-field-encryption/v1/purpose-index-key',
  /** Derives, from a data key, the key of its record's MAC. */
  keyRecordMac: 'typeorm-field-encryption/v1/key-record',
  /** Derives, from a data key, the key of its state's MAC. */
  keyStateMac: 'typeorm-field-encryption/v1/key-state',
  /** Derives the wrapping key and its commitment in the local KMS. */
  localKekWrap: 'typeorm-field-encryption/v1/local-kek',
  /** Begins the associated data of a key wrapped by Vault Transit. */
  vaultWrap: 'typeorm-field-encryption/v1/vault-kek',
  /** Begins the signed message about a key wrapped by Azure Key Vault under a public key. */
  azureSignature: 'typeorm-field-encryption/v1/azure-signature',
  /** Begins the associated data of a key wrapped by Azure Key Vault under a symmetric key. */
  azureWrap: 'typeorm-field-encryption/v1/azure-kek',
  /** Derives the key that seals a data key, from the one that a KMS without associated data wraps instead. */
  boundKey: 'typeorm-field-encryption/v1/bound-key',
  /** Part of the encryption context of a key wrapped by AWS KMS. */
  awsWrap: 'typeorm-field-encryption/v1/aws-kek',
  /** Begins the associated data of a key wrapped by Google Cloud KMS. */
  gcpWrap: 'typeorm-field-encryption/v1/gcp-kek',
  /** Begins the associated data of a key wrapped by a PKCS #11 token. */
  pkcs11Wrap: 'typeorm-field-encryption/v1/pkcs11-kek',
  /** Derives, from a data key, the key of the MAC over its wrapped forms by several providers. */
  failoverMac: 'typeorm-field-encryption/v1/failover',
  /** Derives the key that encrypts a backup of the keys, and begins its associated data. */
  keyBackup: 'typeorm-field-encryption/v1/backup',
  /** Derives the key that seals the audit log. */
  auditKey: 'typeorm-field-encryption/v1/audit-key',
  /** Begins the sealed message of an audit-log entry. */
  auditEntry: 'typeorm-field-encryption/v1/audit-entry',
  /** Begins the sealed message of an entry of the access log. */
  accessEntry: 'typeorm-field-encryption/v1/access-entry',
  /** Begins the sealed message of the anchor of the key table. */
  keyAnchor: 'typeorm-field-encryption/v1/key-anchor',
  /** Begins the statement with which a signing key and the next one vouch for each other. */
  signingKeyChange: 'typeorm-field-encryption/v1/signing-key-change',
  /** Begins what is signed of a document. */
  document: 'typeorm-field-encryption/v1/document',
  /** Derives, from the key of an AEAD, the key of its hedged nonces. */
  nonce: 'typeorm-field-encryption/v1/nonce',
  /** Begins the associated data of a scope's key, sealed by its branch key. */
  scopeKey: 'typeorm-field-encryption/v1/scope-key',
  /** Begins the associated data of the receipt of an erasure, sealed by a branch key. */
  scopeReceipt: 'typeorm-field-encryption/v1/scope-receipt',
  /** Derives a value that shows whether a key is the expected one. */
  keyCheckValue: 'typeorm-field-encryption/v1/check-value',
});
