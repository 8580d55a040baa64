import type { SigningKeyName } from '../keys/signing/signing-keys';

const PURPOSES: Readonly<Record<SigningKeyName, string>> = {
  reports: 'audit-log',
  documents: 'documents',
};

/** Returns the name of a signing key in notes and verifier keys; of that of reports, also the origin of the log. */
export function signerName(application: string, name: SigningKeyName): string {
  return `${encodeURIComponent(Buffer.from(application).toString())}/${PURPOSES[name]}`;
}
