import { signDocument, verifyDocument } from './evidence/document-signature';
import type { SignatureContext } from './evidence/document-signature';
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
