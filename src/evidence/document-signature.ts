import { verifyEd25519 } from '../crypto/ed25519';
import { FOR_SIGNATURES, requireFips } from '../crypto/fips';
import { LABELS } from '../crypto/labels';
import { decodeBase64url, encodeBase64url } from '../encoding/base64url';
import { lengthPrefixed } from '../encoding/length-prefixed';
import { isWellFormed } from '../encoding/text';
import { ConfigurationError } from '../errors';
import type { Installation } from '../typeorm/installation/installation';

/** What a signature of a document is bound to. */
export interface SignatureContext {
  /** What the document is, such as `discharge letter`: 1 to 256 characters, which the signature covers. */
  context: string;
}

const MAX_CONTEXT_CHARS = 256;
const SIGNATURE_BYTES = 64;

/** Signs a document. See `FieldEncryption.sign`. */
export async function signDocument(
  { access, keys, options }: Installation,
  data: Uint8Array | string,
  context: SignatureContext,
): Promise<string> {
  const message = messageOf(options.application, data, context);
  requireFips(options.profile, FOR_SIGNATURES);
  return access.run('sign', async () => {
    const { keyId, signature } = await keys.signing.sign('documents', message);
    return `fes1.${keyId}.${encodeBase64url(signature)}`;
  });
}

/** Verifies a document. See `FieldEncryption.verifySignature`. */
export async function verifyDocument(
  { keys, options }: Installation,
  data: Uint8Array | string,
  text: string,
  context: SignatureContext,
): Promise<boolean> {
  const message = messageOf(options.application, data, context);
  const [, keyId, encoded = ''] = /^fes1\.([0-9a-f]{16})\.([\w-]{86})$/.exec(text) ?? [];
  const signature = decodeBase64url(encoded);
  if (keyId === undefined || signature?.length !== SIGNATURE_BYTES) throw notASignature();
  const publicKey = await keys.signing.publicKeyOf('documents', keyId);
  return verifyEd25519(publicKey, message, signature);
}

/** Returns what is signed: `lengthPrefixed(label, application, context, document)`. */
function messageOf(
  application: string,
  data: Uint8Array | string,
  options: SignatureContext | undefined,
): Uint8Array {
  const context = options?.context ?? '';
  if (!(data instanceof Uint8Array) && !isText(data)) throw notADocument();
  if (isText(context) && context !== '' && context.length <= MAX_CONTEXT_CHARS) {
    return lengthPrefixed([LABELS.document, application, context, data]);
  }
  throw new ConfigurationError(
    `sign, verify: the context must be a text of 1 to ${String(MAX_CONTEXT_CHARS)} characters that says what the ` +
      'document is, such as "discharge letter".',
  );
}

/** Half a surrogate pair has no UTF-8: texts with different ones would be signed alike. */
function isText(value: unknown): value is string {
  return typeof value === 'string' && isWellFormed(value);
}

function notADocument(): ConfigurationError {
  return new ConfigurationError(
    'sign, verify: the document must be a Uint8Array, or a text without halves of surrogate pairs.',
  );
}

function notASignature(): ConfigurationError {
  return new ConfigurationError(
    'verify: this is no signature that sign() returned, which looks like fes1.<16 hexadecimal digits>.<86 characters>.',
  );
}
