import { collectReport } from './evidence/collect-report';
import type { ReportOptions } from './evidence/collect-report';
import { signDocument, verifyDocument } from './evidence/document-signature';
import type { SignatureContext } from './evidence/document-signature';
import type { EvidenceReport } from './evidence/report';
import { writeEvidence } from './evidence/write-evidence';
import type { EvidenceOptions, WrittenEvidence } from './evidence/write-evidence';
import type { Installation } from './typeorm/installation/installation';

/** What an installation can show to others. */
export class Evidence {
  /** @internal */
  protected readonly installation: Installation;

  /** @internal */
  constructor(installation: Installation) {
    this.installation = installation;
  }

  /**
   * Collects the evidence on columns, keys, logs and backups, with the SQL that yields each count, and applies
   * rules to it. Rows, keys and logs are read in one transaction that only reads. Needs SELECT rights on all tables, and
   * counts whole tables. Reads some values of each column, which count as reads.
   *
   * @throws {@link ConfigurationError} for wrong options, missing tables, and rows that a policy hides;
   * {@link KmsUnavailableError} where no key of the audit log or the key table opens;
   * {@link KeyStateError}, retryable, where the only connection of SQLite is in a transaction
   */
  report(options?: ReportOptions): Promise<EvidenceReport> {
    return collectReport(this.installation, options);
  }

  /**
   * Writes the report to a folder, in several forms, with a signed note about them: a checkpoint of the audit log that
   * names the SHA-256 of each file. {@link verifyEvidence} verifies it by a public key alone.
   *
   * @throws what {@link FieldEncryption.report} and {@link FieldEncryption.sign} throw; {@link KeyStateError} for a log
   * that does not go on from that of `since`, and what writing files throws
   */
  writeEvidence(folder: string, options?: EvidenceOptions): Promise<WrittenEvidence> {
    return writeEvidence(this.installation, folder, options);
  }

  /**
   * Signs a document (Ed25519) with a key for documents alone, which is made at its first use. Asks the KMS each time.
   *
   * @param data - bytes, or a text, of which the UTF-8 is signed.
   * @returns `fes1.<key id>.<signature>`, to keep beside the document.
   * @throws {@link ConfigurationError} without a context, or without the table of signing keys;
   * {@link KeyStateError} without an active version, {@link KmsUnavailableError}, {@link AccessDeniedError}
   */
  sign(data: Uint8Array | string, context: SignatureContext): Promise<string> {
    return signDocument(this.installation, data, context);
  }

  /**
   * Whether a signature is that of the document in this context. `false` for a changed document, another context or
   * application, and an edited signature.
   *
   * @throws {@link ConfigurationError} for what is no signature, {@link KeyNotFoundError} for one by an unknown key,
   * {@link KeyStateError} for one by a key that was compromised, {@link KmsUnavailableError}
   */
  verifySignature(
    data: Uint8Array | string,
    signature: string,
    context: SignatureContext,
  ): Promise<boolean> {
    return verifyDocument(this.installation, data, signature, context);
  }
}
