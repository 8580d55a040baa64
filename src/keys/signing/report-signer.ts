/** A key of the user's that signs reports, such as in an HSM. */
export interface ReportSigner {
  /** The 32 bytes of an Ed25519 public key (RFC 8032). */
  readonly publicKey: Uint8Array;
  /** Returns the Ed25519 signature of the data, 64 bytes. */
  sign(data: Uint8Array): Promise<Uint8Array>;
}
